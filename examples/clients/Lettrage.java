// A portal's client of Lettrage: JDK 17 or newer, no library, no build: `java Lettrage.java tabs …`. What its commands
// do is in README.md beside it. The JDK reads no JSON: a portal has a library for that, in the place of the class Json.

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public final class Lettrage {
    static final List<String> VIEWS = List.of("payable", "history", "direct_debit");
    static final Duration TIMEOUT = Duration.ofSeconds(10); // longer than a payment's start waits for its outcome
    static final int TRIES = 3;
    static final long TOLERANCE_SECONDS = 300; // how old a notification may be, or how far ahead its sender's clock

    /** The answer is no, and would be again. */
    static final class Refused extends Exception {
        Refused(String message) { super(message); }
    }

    /** No answer yet; the same again is safe. */
    static final class TryLater extends Exception {
        TryLater(String message) { super(message); }
    }

    record Answer(int status, Map<String, Object> said) {}

    final HttpClient http = HttpClient.newBuilder().connectTimeout(TIMEOUT).version(HttpClient.Version.HTTP_1_1).build();
    final String url = System.getenv("LETTRAGE_URL");
    final String token = System.getenv("LETTRAGE_TOKEN");

    /** One request. After a time-out, a broken connection, a 429 or a 5xx the same is sent again. */
    Answer call(HttpRequest.Builder asked) throws Refused, TryLater, InterruptedException {
        var request = asked.timeout(TIMEOUT).header("Authorization", "Bearer " + token).build();
        var why = "";
        for (int attempt = 0; attempt < TRIES; attempt++) {
            Thread.sleep(attempt * 1000L);
            try {
                var answer = http.send(request, HttpResponse.BodyHandlers.ofString(StandardCharsets.UTF_8));
                why = "Lettrage answered " + answer.statusCode();
                if (answer.statusCode() == 429 || answer.statusCode() >= 500) continue;
                var said = Json.object(Json.read(answer.body()));
                if (answer.statusCode() == 200 || answer.statusCode() == 202) return new Answer(answer.statusCode(), said);
                throw new Refused(why + ": " + said.getOrDefault("detail", said.get("title")));
            } catch (IOException | IllegalArgumentException | IndexOutOfBoundsException error) {
                why = "Lettrage does not answer (" + error.getClass().getSimpleName() + ")";
            }
        }
        throw new TryLater(why + "; try again later.");
    }

    /** Send an event and wait for its outcome: 200, or 202 without. The id is given: sent again, it is the same event. */
    Answer send(String type, String id, Map<String, ?> data) throws Refused, TryLater, InterruptedException {
        var body = Json.write(Map.of("specversion", "1.0", "type", "fr.lettrage." + type + ".v1", "source", "/portail",
            "id", id, "time", Instant.now().toString(), "data", data));
        for (int attempt = 1; ; attempt++) {
            var answer = call(HttpRequest.newBuilder(URI.create(url + "/v1/events"))
                .header("Content-Type", "application/cloudevents+json").header("Prefer", "wait=5")
                .POST(HttpRequest.BodyPublishers.ofString(body)));
            if (answer.status == 200 || attempt == TRIES) return answer;
            Thread.sleep(1000);
        }
    }

    /** A tab's invoices, page after page. */
    List<Map<String, Object>> tab(String regie, String account, String view)
            throws Refused, TryLater, InterruptedException {
        var found = new ArrayList<Map<String, Object>>();
        var first = url + "/v1/regies/" + regie + "/invoices?limit=100&view=" + view + "&account=" + encoded(account);
        for (var next = first; next != null; ) {
            var page = call(HttpRequest.newBuilder(URI.create(next))).said;
            Json.list(page.get("items")).forEach(item -> found.add(Json.object(item)));
            next = page.get("next_cursor") instanceof String cursor ? first + "&cursor=" + encoded(cursor) : null;
        }
        return found;
    }

    static String encoded(String text) {
        return URLEncoder.encode(text, StandardCharsets.UTF_8);
    }

    /** Start a payment, of cents by invoice number. Send the family to the gateway only when its state is `started`. */
    Map<String, Object> start(String regie, String reference, Map<String, Long> lines)
            throws Refused, TryLater, InterruptedException {
        var invoices = lines.entrySet().stream()
            .map(line -> Map.of("number", line.getKey(), "amount_cents", line.getValue())).toList();
        var cents = lines.values().stream().mapToLong(Long::longValue).sum();
        var answer = send("payment.started", "started-" + reference,
            Map.of("regie", regie, "reference", reference, "amount_cents", cents, "invoices", invoices));
        if (answer.status != 200) throw new TryLater("Lettrage has not decided yet; try the same again.");
        var payment = answer.said.get("payment");
        return payment == null ? Map.of("state", answer.said.get("reason")) : Json.object(payment);
    }

    /** Pass on what a gateway sent to the portal, byte for byte. */
    Map<String, Object> forward(String regie, String method, String query, byte[] body, Map<String, String> headers)
            throws Refused, TryLater, InterruptedException {
        return send("gateway.callback", "callback-" + UUID.randomUUID(), Map.of("regie", regie, "method", method,
            "query", query, "body", Base64.getEncoder().encodeToString(body), "headers", headers)).said;
    }

    /** Whether one of our secrets made one of its signatures, not long ago. Two secrets while one replaces the other. */
    static void verify(Map<String, String> headers, byte[] body, String[] secrets, Instant now)
            throws Refused, GeneralSecurityException {
        var at = headers.getOrDefault("webhook-timestamp", "");
        if (!at.matches("[0-9]{1,12}") || Math.abs(now.getEpochSecond() - Long.parseLong(at)) > TOLERANCE_SECONDS) {
            throw new Refused("Sent more than five minutes ago, or in the future.");
        }
        for (var secret : secrets) {
            var mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(Base64.getDecoder().decode(secret.replaceFirst("^whsec_", "")), "HmacSHA256"));
            mac.update((headers.get("webhook-id") + "." + at + ".").getBytes(StandardCharsets.UTF_8));
            var expected = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.UTF_8);
            for (var signature : headers.getOrDefault("webhook-signature", "").split(" ")) {
                if (MessageDigest.isEqual(signature.getBytes(StandardCharsets.UTF_8), expected)) return;
            }
        }
        throw new Refused("No signature of Lettrage's.");
    }

    /** What to show of an invoice: of all that was verified, in any order, the highest version is its truth. */
    static Optional<Map<String, Object>> newest(Stream<String> bodies, String regie, String number) {
        return bodies.map(Json::read).map(Json::object)
            .filter(body -> ((String) body.get("type")).startsWith("invoice."))
            .map(body -> Json.object(body.get("data")))
            .filter(data -> regie.equals(data.get("regie")) && number.equals(data.get("number")))
            .reduce((one, other) -> (long) one.get("version") >= (long) other.get("version") ? one : other);
    }

    /** `NAME: VALUE`s by their names in lower case. */
    static Map<String, String> named(Stream<String> lines) {
        return lines.map(line -> line.split(":", 2))
            .collect(Collectors.toMap(pair -> pair[0].toLowerCase(), pair -> pair[1].strip(), (one, other) -> other));
    }

    /** The lines of stdin until an empty one; what follows is left to be read. */
    static Stream<String> head() throws IOException {
        var lines = new ArrayList<String>();
        var line = new StringBuilder();
        for (int letter; (letter = System.in.read()) >= 0; ) {
            if (letter != '\n') {
                line.append((char) letter);
                continue;
            }
            if (line.toString().isBlank()) break;
            lines.add(line.toString());
            line.setLength(0);
        }
        return lines.stream();
    }

    static void print(Object... cells) {
        System.out.println(Stream.of(cells).map(String::valueOf).collect(Collectors.joining("\t")));
    }

    static Object orDash(Object value) {
        return value == null ? "-" : value;
    }

    int run(List<String> args) throws Exception {
        var command = args.isEmpty() ? "" : args.get(0);
        if (command.equals("tabs") && args.size() == 3) {
            for (var view : VIEWS) {
                for (var each : tab(args.get(1), args.get(2), view)) {
                    print(view, each.get("number"), each.get("amount_cents"), each.get("state"),
                        orDash(each.get("payable_again_at")));
                }
            }
        } else if (command.equals("pay") && args.size() > 3) {
            var lines = new LinkedHashMap<String, Long>();
            for (var line : args.subList(3, args.size())) {
                var split = line.lastIndexOf('=');
                lines.put(line.substring(0, split), Long.valueOf(line.substring(split + 1)));
            }
            var payment = start(args.get(1), args.get(2), lines);
            print(payment.get("state"), orDash(payment.get("payable_again_at")));
            if (!"started".equals(payment.get("state"))) throw new Refused("Do not send the family to the gateway.");
        } else if (command.equals("forward") && args.size() > 3) {
            var body = args.get(2).equals("POST") ? System.in.readAllBytes() : new byte[0];
            var answer = forward(args.get(1), args.get(2), args.get(3), body, named(args.stream().skip(4)));
            print(answer.getOrDefault("outcome", answer.get("status")), orDash(answer.get("reason")));
        } else if (command.equals("verify") && args.size() == 1) {
            var headers = named(head());
            var body = System.in.readAllBytes();
            verify(headers, body, System.getenv("PORTAL_WEBHOOK_SECRET").split(" "), Instant.now());
            System.out.writeBytes(body);
            System.out.println();
        } else if (command.equals("shown") && args.size() == 3) {
            var told = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
            var data = newest(told.lines(), args.get(1), args.get(2));
            if (data.isEmpty()) {
                System.err.println("Nothing is known of this invoice.");
                return 3;
            }
            print(data.get().get("state"), data.get().get("version"));
        } else {
            System.err.println("tabs REGIE ACCOUNT | pay REGIE REFERENCE NUMBER=CENTS... | "
                + "forward REGIE METHOD QUERY [NAME:VALUE...] | verify | shown REGIE NUMBER");
            return 2;
        }
        return 0;
    }

    public static void main(String[] args) throws Exception {
        try {
            System.exit(new Lettrage().run(List.of(args)));
        } catch (Refused | TryLater error) {
            System.err.println(error.getMessage());
            System.exit(error instanceof TryLater ? 75 : 1);
        }
    }

    /** As much of JSON as is spoken here: objects, lists, texts, whole numbers, true, false and null. */
    static final class Json {
        private final String text;
        private int at;

        private Json(String text) { this.text = text; }

        static Object read(String text) {
            var json = new Json(text);
            var value = json.value();
            if (json.peek() != 0) throw new IllegalArgumentException("not JSON");
            return value;
        }

        @SuppressWarnings("unchecked")
        static Map<String, Object> object(Object value) { return (Map<String, Object>) value; }

        static List<?> list(Object value) { return (List<?>) value; }

        static String write(Object value) {
            if (value instanceof Map<?, ?> map) {
                return map.entrySet().stream().map(each -> write(each.getKey()) + ":" + write(each.getValue()))
                    .collect(Collectors.joining(",", "{", "}"));
            }
            if (value instanceof List<?> list) {
                return list.stream().map(Json::write).collect(Collectors.joining(",", "[", "]"));
            }
            return value instanceof String text ? quoted(text) : String.valueOf(value);
        }

        private static String quoted(String text) {
            return text.chars().mapToObj(letter -> letter < ' ' || letter == '"' || letter == '\\'
                ? String.format("\\u%04x", letter) : String.valueOf((char) letter)).collect(Collectors.joining("", "\"", "\""));
        }

        private char peek() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++;
            return at < text.length() ? text.charAt(at) : 0;
        }

        private boolean took(char letter) {
            if (peek() != letter) return false;
            at++;
            return true;
        }

        private void take(char letter) {
            if (!took(letter)) throw new IllegalArgumentException("not JSON");
        }

        private Object value() {
            return switch (peek()) {
                case '{' -> members();
                case '[' -> items();
                case '"' -> string();
                default -> word();
            };
        }

        private Map<String, Object> members() {
            var found = new HashMap<String, Object>();
            take('{');
            if (took('}')) return found;
            do {
                var name = peek() == '"' ? string() : "";
                take(':');
                found.put(name, value());
            } while (took(','));
            take('}');
            return found;
        }

        private List<Object> items() {
            var found = new ArrayList<Object>();
            take('[');
            if (took(']')) return found;
            do found.add(value()); while (took(','));
            take(']');
            return found;
        }

        private String string() {
            var found = new StringBuilder();
            take('"');
            while (text.charAt(at) != '"') {
                var letter = text.charAt(at++);
                found.append(letter == '\\' ? escaped() : letter);
            }
            at++;
            return found.toString();
        }

        private char escaped() {
            var letter = text.charAt(at++);
            if (letter == 'u') return (char) Integer.parseInt(text.substring(at, at += 4), 16);
            var known = "bfnrt".indexOf(letter);
            return known < 0 ? letter : "\b\f\n\r\t".charAt(known);
        }

        private Object word() {
            int end = at;
            while (end < text.length() && ",]} \t\r\n".indexOf(text.charAt(end)) < 0) end++;
            var word = text.substring(at, at = end);
            return switch (word) {
                case "null" -> null;
                case "true", "false" -> Boolean.valueOf(word);
                default -> Long.valueOf(word);
            };
        }
    }
}
