/* Usage: http_proxy=HOST:PORT libwebsockets URL PROXY CA */
#include <libwebsockets.h>
#include <stdio.h>
#include <string.h>

enum { TEXT, BINARY, CLOSE, OVER };
static int due = TEXT, failed;

static void say(struct lws *wsi, const void *message, size_t length, enum lws_write_protocol kind) {
    unsigned char buffer[LWS_PRE + 64];
    memcpy(buffer + LWS_PRE, message, length);
    lws_write(wsi, buffer + LWS_PRE, length, kind);
}

static void received(struct lws *wsi, const unsigned char *message, size_t length) {
    if (lws_frame_is_binary(wsi)) {
        printf("binary ");
        for (size_t i = 0; i < length; i++)
            printf("%02x", message[i]);
        printf("\n");
        due = CLOSE;
    } else {
        printf("text %.*s\n", (int)length, (const char *)message);
        due = BINARY;
    }
    lws_callback_on_writable(wsi);
}

static int happens(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t length) {
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        lws_callback_on_writable(wsi);
        break;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        if (due == TEXT)
            say(wsi, "buy é 🎉", strlen("buy é 🎉"), LWS_WRITE_TEXT);
        else if (due == BINARY)
            say(wsi, "\x00\x01\xfe\xff", 4, LWS_WRITE_BINARY);
        else if (due == CLOSE) {
            lws_close_reason(wsi, 4001, (unsigned char *)"bye", 3);
            return -1;
        }
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        received(wsi, in, length);
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        printf("error %s\n", in ? (char *)in : "");
        failed = 1;
        due = OVER;
        break;
    case LWS_CALLBACK_CLIENT_CLOSED:
        due = OVER;
        break;
    default:
        break;
    }
    return 0;
}

static const struct lws_protocols protocols[] = {{"", happens, 0, 1024}, {0}};
static const struct lws_extension extensions[] = {
    {"permessage-deflate", lws_extension_callback_pm_deflate, "permessage-deflate; client_max_window_bits"}, {0}};

int main(int count, char **arguments) {
    const char *ca = arguments[3], *scheme, *host, *path;
    char absolute[1024], origin[256];
    int port;

    lws_set_log_level(LLL_ERR | LLL_WARN, NULL);
    if (count != 4 || lws_parse_uri(arguments[1], &scheme, &host, &port, &path))
        return 2;
    snprintf(absolute, sizeof absolute, "/%s", path);
    snprintf(origin, sizeof origin, "%s:%d", host, port);

    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .protocols = protocols,
        .extensions = extensions,
        .client_ssl_ca_filepath = ca,
    };
    struct lws_context *context = lws_create_context(&info);
    struct lws_client_connect_info wish = {
        .context = context,
        .address = host,
        .host = origin,
        .port = port,
        .path = absolute,
        .ssl_connection = strcmp(scheme, "wss") ? 0 : LCCSCF_USE_SSL,
    };
    lws_client_connect_via_info(&wish);
    while (due != OVER && lws_service(context, 0) >= 0)
        ;
    lws_context_destroy(context);
    return failed;
}
