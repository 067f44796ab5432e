#!/bin/sh
# Signs in where there is no display: runs the given command, opens the address that it prints in a browser that is signed in, and
# pastes the code that is shown. BROWSER_COOKIE is the browser's cookie, CURL_CA_BUNDLE what it trusts.
set -eu
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
mkfifo "$folder/keyboard"
exec 3<>"$folder/keyboard"
"$@" <&3 2>&1 | while IFS= read -r line; do
    printf '%s\n' "$line"
    case "$line" in
    # Asked where there is a metadata server.
    *"your personal account?"*) echo y >&3 ;;
    *response_type=code*)
        address=$(printf '%s\n' "$line" | grep -o 'http[^ ]*')
        page=$(curl --silent --location --header "Cookie: $BROWSER_COOKIE" "$address")
        printf '%s\n' "$page" | grep -o 'doorward_ac_[A-Za-z0-9_-]*' >&3
        ;;
    esac
done
