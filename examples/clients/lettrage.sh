#!/bin/sh
# A portal's client of Lettrage: curl, jq and openssl. What its commands do is in README.md beside it.
set -efu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cr=$(printf '\r')

fail() { # EXIT-CODE WORD…
    code=$1 && shift
    echo "$*" >&2
    exit "$code"
}

# One request; its answer is in $work/answer, its status in $status. After a time-out, a broken connection, a 429 or a
# 5xx curl sends the same again. The token comes in on stdin: arguments are seen by everyone on the machine.
call() { # CURL-ARGUMENT…
    status=$(curl --silent --show-error --config - --max-time 10 --output "$work/answer" --write-out '%{http_code}' \
        --retry 2 --retry-delay 1 --retry-max-time 30 --retry-all-errors "$@" <<END
header = "Authorization: Bearer $LETTRAGE_TOKEN"
END
    ) || fail 75 "Lettrage does not answer; try again later."
    case $status in
        200 | 202) ;;
        429 | 5??) fail 75 "Lettrage answered $status; try again later." ;;
        *) fail 1 "Lettrage answered $status: $(jq -r '.detail // .title' "$work/answer")" ;;
    esac
}

# What is in $work/data as an event, whose outcome is waited for. Its id is given: sent again, it is the same event.
send() { # TYPE ID
    jq -c --arg type "fr.lettrage.$1.v1" --arg id "$2" '{
        specversion: "1.0", $type, source: "/portail", $id, time: (now | todate), data: .}' "$work/data" >"$work/event"
    tries=3
    while call "$LETTRAGE_URL/v1/events" --header 'Prefer: wait=5' \
        --header 'Content-Type: application/cloudevents+json' --data-binary "@$work/event" &&
        [ "$status" = 202 ] && [ $((tries -= 1)) -gt 0 ]; do sleep 1; done
}

tabs() { # REGIE ACCOUNT
    for view in payable history direct_debit; do
        cursor=
        while :; do
            call --get "$LETTRAGE_URL/v1/regies/$1/invoices" --data "view=$view" --data limit=100 \
                --data-urlencode "account=$2" ${cursor:+--data-urlencode "cursor=$cursor"}
            jq -r --arg view "$view" \
                '.items[] | [$view, .number, .amount_cents, .state, .payable_again_at // "-"] | join("\t")' "$work/answer"
            cursor=$(jq -r '.next_cursor // empty' "$work/answer")
            [ -n "$cursor" ] || break
        done
    done
}

pay() { # REGIE REFERENCE NUMBER=CENTS…
    regie=$1 reference=$2 && shift 2
    for line; do printf '%s\n' "$line"; done |
        jq -Rn --arg regie "$regie" --arg reference "$reference" '
            [inputs | capture("^(?<number>.+)=(?<amount_cents>[0-9]+)$") | .amount_cents |= tonumber] as $invoices |
            {$regie, $reference, amount_cents: ($invoices | map(.amount_cents) | add), $invoices}' >"$work/data"
    send payment.started "started-$reference"
    [ "$status" = 200 ] || fail 75 "Lettrage has not decided yet; try the same again."
    jq -r '"\(.payment.state // .reason)\t\(.payment.payable_again_at // "-")"' "$work/answer"
    jq -e '.payment.state == "started"' "$work/answer" >/dev/null || fail 1 "Do not send the family to the gateway."
}

forward() { # REGIE METHOD QUERY [NAME:VALUE…]; the body on stdin
    regie=$1 method=$2 query=$3 && shift 3
    [ "$method" != POST ] || cat >"$work/body"
    openssl base64 -A -in "$work/body" >"$work/base64"
    for header; do printf '%s\n' "$header"; done |
        jq -Rn --arg regie "$regie" --arg method "$method" --arg query "$query" --rawfile body "$work/base64" '
            {$regie, $method, $query, $body,
             headers: ([inputs | capture("^(?<key>[^:]+): *(?<value>.*)$")] | from_entries)}' >"$work/data"
    send gateway.callback "callback-$(openssl rand -hex 16)"
    jq -r '"\(.outcome // .status)\t\(.reason // "-")"' "$work/answer"
}

digest() { printf %s "$1" | openssl dgst -sha256; } # Two digests differ anywhere: their comparison tells no secret.

# Reads a notification as it came, headers, an empty line and the body; prints the body if it is Lettrage's. openssl is
# given the key as an argument: take another language where strangers have accounts on the machine.
verify() {
    id='' at='' signatures='' believed=''
    while IFS= read -r line && line=${line%"$cr"} && [ -n "$line" ]; do
        value=${line#*:} && value=${value# }
        case $(printf %s "${line%%:*}" | tr '[:upper:]' '[:lower:]') in
            webhook-id) id=$value ;;
            webhook-timestamp) at=$value ;;
            webhook-signature) signatures=$value ;;
        esac
    done
    cat >"$work/body"
    case $at in '' | *[!0-9]* | 0* | ?????????????*) fail 1 "No timestamp." ;; esac
    age=$(($(date +%s) - at))
    [ "${age#-}" -le 300 ] || fail 1 "Sent more than five minutes ago, or in the future."
    for secret in $PORTAL_WEBHOOK_SECRET; do
        key=$(printf %s "${secret#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
        expected=v1,$({ printf '%s.%s.' "$id" "$at" && cat "$work/body"; } |
            openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
        for signature in $signatures; do
            [ "$(digest "$signature")" != "$(digest "$expected")" ] || believed=yes
        done
    done
    [ -n "$believed" ] || fail 1 "No signature of Lettrage's."
    cat "$work/body" && echo
}

# Of the bodies that verify printed, in any order and any number of times: the highest version is the invoice's truth.
shown() { # REGIE NUMBER
    jq -rn --arg regie "$1" --arg number "$2" '
        [inputs | select(.type | startswith("invoice.")) | .data | select(.regie == $regie and .number == $number)] |
        max_by(.version) // empty | "\(.state)\t\(.version)"' >"$work/answer"
    [ -s "$work/answer" ] || fail 3 "Nothing is known of this invoice."
    cat "$work/answer"
}

: >"$work/body"
case "${1:-} $#" in
    "tabs 3" | "verify 1" | "shown 3") ;;
    "pay "[4-9]* | "pay "[1-3][0-9]* | "forward "[4-9]* | "forward "[1-3][0-9]*) ;;
    *) fail 2 "tabs REGIE ACCOUNT | pay REGIE REFERENCE NUMBER=CENTS… | forward REGIE METHOD QUERY [NAME:VALUE…] | verify | shown REGIE NUMBER" ;;
esac
"$@"
