// Usage: java JavaNetHttp URL PROXY CA, or with -Dhttps.proxyHost=… and -Djavax.net.ssl.trustStore=…: java JavaNetHttp URL

import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class JavaNetHttp implements WebSocket.Listener {
    private final StringBuilder text = new StringBuilder();
    private final CompletableFuture<Void> closed = new CompletableFuture<>();

    public static void main(String[] args) throws Exception {
        var listener = new JavaNetHttp();
        var client = args.length == 1 ? HttpClient.newHttpClient() : proxied(URI.create(args[1]), args[2]);
        client.newWebSocketBuilder().buildAsync(URI.create(args[0]), listener).join();
        listener.closed.join();
        System.exit(0);
    }

    private static HttpClient proxied(URI proxy, String ca) throws Exception {
        return HttpClient.newBuilder()
            .proxy(ProxySelector.of(new InetSocketAddress(proxy.getHost(), proxy.getPort())))
            .sslContext(trusting(ca))
            .build();
    }

    private static SSLContext trusting(String ca) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var file = Files.newInputStream(Path.of(ca))) {
            store.setCertificateEntry("mitmproxy", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    @Override
    public void onOpen(WebSocket ws) {
        ws.request(1);
        ws.sendText("buy é 🎉", true);
    }

    @Override
    public CompletionStage<?> onText(WebSocket ws, CharSequence part, boolean last) {
        text.append(part);
        if (last) {
            System.out.println("text " + text);
            ws.sendBinary(ByteBuffer.wrap(new byte[] {0, 1, (byte) 254, (byte) 255}), true);
        }
        ws.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onBinary(WebSocket ws, ByteBuffer part, boolean last) {
        var bytes = new byte[part.remaining()];
        part.get(bytes);
        System.out.println("binary " + HexFormat.of().formatHex(bytes));
        ws.sendClose(4001, "bye");
        ws.request(1);
        return null;
    }

    @Override
    public CompletionStage<?> onClose(WebSocket ws, int code, String reason) {
        System.out.println("closed " + code + " " + reason);
        closed.complete(null);
        return null;
    }

    @Override
    public void onError(WebSocket ws, Throwable error) {
        closed.completeExceptionally(error);
    }
}
