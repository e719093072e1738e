# Usage: sh trust_nss.sh FOLDER CA. Has Chromium (FOLDER is ~/.pki/nssdb) or Firefox (its profile) on Linux trust a CA.
set -eu

mkdir -p "$1"
certutil -d "sql:$1" -A -t C,, -n mitmproxy -i "$2"
