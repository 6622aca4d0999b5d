<?php

// A portal's client of Lettrage: PHP 8.1 or newer, no extension, no package. What its commands do is in README.md
// beside it.

declare(strict_types=1);

const VIEWS = ['payable', 'history', 'direct_debit'];
const TIMEOUT_SECONDS = 10; // longer than a payment's start waits for its outcome
const TRIES = 3;
const TOLERANCE_SECONDS = 300; // how old a notification may be, or how far ahead its sender's clock

/** The answer is no, and would be again. */
final class Refused extends RuntimeException
{
}

/** No answer yet; the same again is safe. */
final class TryLater extends RuntimeException
{
}

/** One request. After a time-out, a broken connection, a 429 or a 5xx the same is sent again. [status, answer] */
function call(string $path, ?string $body = null, array $headers = []): array
{
    $context = stream_context_create(['http' => [
        'method' => $body === null ? 'GET' : 'POST',
        'header' => ['Authorization: Bearer ' . getenv('LETTRAGE_TOKEN'), 'Connection: close', ...$headers],
        'content' => $body ?? '',
        'timeout' => TIMEOUT_SECONDS,
        'ignore_errors' => true, // the answer to a 4xx says what is wrong
        'follow_location' => 0,
    ]]);
    $why = 'Lettrage does not answer';
    for ($attempt = 0; $attempt < TRIES; $attempt++) {
        sleep($attempt);
        $stream = @fopen(getenv('LETTRAGE_URL') . $path, 'rb', false, $context);
        if ($stream === false) {
            continue;
        }
        $text = (string) stream_get_contents($stream);
        $answered = stream_get_meta_data($stream);
        fclose($stream);
        $status = (int) explode(' ', $answered['wrapper_data'][0])[1];
        $answer = json_decode($text, true);
        if ($answered['timed_out'] || $answer === null || $status === 429 || $status >= 500) {
            $why = "Lettrage answered $status";
            continue;
        }
        if ($status !== 200 && $status !== 202) {
            throw new Refused("Lettrage answered $status: " . ($answer['detail'] ?? $answer['title'] ?? ''));
        }
        return [$status, $answer];
    }
    throw new TryLater("$why; try again later.");
}

/** Send an event and wait for its outcome: 200, or 202 without. The id is given: sent again, it is the same event. */
function send(string $type, string $id, array $data): array
{
    $event = ['specversion' => '1.0', 'type' => "fr.lettrage.$type.v1", 'source' => '/portail', 'id' => $id];
    $body = json_encode($event + ['time' => gmdate(DATE_RFC3339), 'data' => $data], JSON_THROW_ON_ERROR);
    $headers = ['Content-Type: application/cloudevents+json', 'Prefer: wait=5'];
    [$status, $answer] = call('/v1/events', $body, $headers);
    for ($again = 1; $status === 202 && $again < TRIES; $again++) {
        sleep(1);
        [$status, $answer] = call('/v1/events', $body, $headers);
    }
    return [$status, $answer];
}

/** A tab's invoices, page after page. */
function tab(string $regie, string $account, string $view): Generator
{
    $query = ['account' => $account, 'view' => $view, 'limit' => 100];
    do {
        [, $page] = call("/v1/regies/$regie/invoices?" . http_build_query($query));
        yield from $page['items'];
        $query['cursor'] = $page['next_cursor'];
    } while ($page['next_cursor'] !== null);
}

/** Start a payment of [number, cents]s. Send the family to the gateway only when its state is `started`. */
function start(string $regie, string $reference, array $lines): array
{
    $data = [
        'regie' => $regie,
        'reference' => $reference,
        'amount_cents' => array_sum(array_column($lines, 1)),
        'invoices' => array_map(fn (array $line) => ['number' => $line[0], 'amount_cents' => $line[1]], $lines),
    ];
    [$status, $answer] = send('payment.started', "started-$reference", $data);
    if ($status !== 200) {
        throw new TryLater('Lettrage has not decided yet; try the same again.');
    }
    return $answer['payment'] ?? ['state' => $answer['reason']];
}

/** Pass on what a gateway sent to the portal, byte for byte. */
function forward(string $regie, string $method, string $query, string $body, array $headers): array
{
    $data = ['regie' => $regie, 'method' => $method, 'query' => $query, 'body' => base64_encode($body)];
    $id = 'callback-' . bin2hex(random_bytes(16));
    return send('gateway.callback', $id, $data + ['headers' => (object) $headers])[1];
}

/** The body, if one of our secrets made one of its signatures, not long ago. Two secrets while one replaces the other. */
function verify(array $headers, string $body, array $secrets, int $now): string
{
    $id = $headers['webhook-id'] ?? '';
    $at = $headers['webhook-timestamp'] ?? '';
    if (!preg_match('/^[0-9]{1,12}\z/', $at) || abs($now - (int) $at) > TOLERANCE_SECONDS) {
        throw new Refused('Sent more than five minutes ago, or in the future.');
    }
    foreach ($secrets as $secret) {
        $key = base64_decode(substr($secret, strlen('whsec_')), true);
        $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$at.$body", $key, true));
        foreach (explode(' ', $headers['webhook-signature'] ?? '') as $signature) {
            if (hash_equals($expected, $signature)) {
                return $body;
            }
        }
    }
    throw new Refused("No signature of Lettrage's.");
}

/** What to show of an invoice: of all that was verified, in any order, the highest version is its truth. */
function newest(iterable $bodies, string $regie, string $number): ?array
{
    $newest = null;
    foreach ($bodies as $body) {
        ['type' => $type, 'data' => $data] = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        if (str_starts_with($type, 'invoice.') && $data['regie'] === $regie && $data['number'] === $number) {
            $newest = $data['version'] > ($newest['version'] ?? -1) ? $data : $newest;
        }
    }
    return $newest;
}

/** `NAME: VALUE`s as an array, by their names in lower case. */
function named(iterable $lines): array
{
    $headers = [];
    foreach ($lines as $line) {
        [$name, $value] = explode(':', $line, 2) + [1 => ''];
        $headers[strtolower($name)] = trim($value);
    }
    return $headers;
}

/** The lines of a stream, until its end or an empty one; what follows is left to be read. */
function lines(mixed $stream): Generator
{
    while (($line = rtrim((string) fgets($stream), "\r\n")) !== '') {
        yield $line;
    }
}

function run(string $command, array $args): int
{
    switch ([$command, min(count($args), $command === 'pay' || $command === 'forward' ? 3 : 9)]) {
        case ['tabs', 2]:
            foreach (VIEWS as $view) {
                foreach (tab($args[0], $args[1], $view) as $each) {
                    $shown = [$view, $each['number'], $each['amount_cents'], $each['state']];
                    echo implode("\t", [...$shown, $each['payable_again_at'] ?? '-']), "\n";
                }
            }
            return 0;
        case ['pay', 3]:
            $lines = array_map(function (string $line): array {
                $split = (int) strrpos($line, '=');
                return [substr($line, 0, $split), (int) substr($line, $split + 1)];
            }, array_slice($args, 2));
            $payment = start($args[0], $args[1], $lines);
            echo $payment['state'], "\t", $payment['payable_again_at'] ?? '-', "\n";
            return $payment['state'] === 'started' ? 0 : throw new Refused('Do not send the family to the gateway.');
        case ['forward', 3]:
            $body = $args[1] === 'POST' ? stream_get_contents(STDIN) : '';
            $answer = forward($args[0], $args[1], $args[2], $body, named(array_slice($args, 3)));
            echo $answer['outcome'] ?? $answer['status'], "\t", $answer['reason'] ?? '-', "\n";
            return 0;
        case ['verify', 0]:
            $headers = named(lines(STDIN));
            $secrets = explode(' ', (string) getenv('PORTAL_WEBHOOK_SECRET'));
            echo verify($headers, stream_get_contents(STDIN), $secrets, time()), "\n";
            return 0;
        case ['shown', 2]:
            $data = newest(lines(STDIN), $args[0], $args[1]);
            if ($data === null) {
                fwrite(STDERR, "Nothing is known of this invoice.\n");
                return 3;
            }
            echo $data['state'], "\t", $data['version'], "\n";
            return 0;
        default:
            fwrite(STDERR, 'tabs REGIE ACCOUNT | pay REGIE REFERENCE NUMBER=CENTS… | '
                . "forward REGIE METHOD QUERY [NAME:VALUE…] | verify | shown REGIE NUMBER\n");
            return 2;
    }
}

try {
    exit(run($argv[1] ?? '', array_slice($argv, 2)));
} catch (Refused | TryLater $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit($error instanceof TryLater ? 75 : 1);
}
