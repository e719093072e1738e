# Usage: sh firefox_profile.sh PROFILE HOST PORT. Has a profile of Firefox use a proxy, for localhost, too.
set -eu

cat >"$1/user.js" <<JS
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "$2");
user_pref("network.proxy.http_port", $3);
user_pref("network.proxy.ssl", "$2");
user_pref("network.proxy.ssl_port", $3);
user_pref("network.proxy.allow_hijacking_localhost", true);
JS
