// payd from Java 17 or newer, without libraries: create an order, verify a webhook.
//
//   java Payd.java create OUT_TRADE_NO FEN DESCRIPTION
//   java Payd.java verify ID TIMESTAMP SIGNATURE < raw-body
//
// PAYD_URL, PAYD_KEY and PAYD_WEBHOOK_SECRET come from the environment. Bodies are written and read with your own JSON
// library; here they are texts.

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public final class Payd {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    /** Creates an order and returns the answer's JSON; repeating it with the same key never makes a second order. */
    static String createOrder(String orderJson, String idempotencyKey) throws IOException, InterruptedException {
        String url = System.getenv().getOrDefault("PAYD_URL", "http://127.0.0.1:8080");
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/pay/create"))
                .timeout(Duration.ofSeconds(15))
                .header("X-Api-Key", System.getenv("PAYD_KEY"))
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", idempotencyKey)
                .POST(HttpRequest.BodyPublishers.ofString(orderJson, StandardCharsets.UTF_8))
                .build();
        HttpResponse<String> answer =
                CLIENT.send(request, HttpResponse.BodyHandlers.ofString(StandardCharsets.UTF_8));
        if (answer.statusCode() >= 400) {
            throw new IOException("payd refused: " + answer.body());
        }
        return answer.body(); // code_url: show it as a QR code
    }

    /** Verifies a webhook over its raw body. Throws when it is forged or too old; parse the body only afterwards. */
    static void verifyWebhook(String secret, String id, String timestamp, String signatures, byte[] rawBody)
            throws GeneralSecurityException {
        if (Math.abs(Instant.now().getEpochSecond() - Long.parseLong(timestamp)) > 300) {
            throw new GeneralSecurityException("webhook: timestamp out of range");
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Base64.getDecoder().decode(secret.replaceFirst("^whsec_", "")), "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        String wanted = "v1," + Base64.getEncoder().encodeToString(mac.doFinal(rawBody));
        for (String signature : signatures.split(" ")) {
            if (MessageDigest.isEqual(
                    wanted.getBytes(StandardCharsets.UTF_8), signature.getBytes(StandardCharsets.UTF_8))) {
                return;
            }
        }
        throw new GeneralSecurityException("webhook: no matching signature");
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 4 && arguments[0].equals("create")) {
            String order = String.format(
                    "{\"out_trade_no\": \"%s\", \"amount\": {\"total\": %d}, \"description\": \"%s\"}",
                    arguments[1], Long.parseLong(arguments[2]), arguments[3]);
            System.out.println(createOrder(order, arguments[1]));
        } else if (arguments.length == 4 && arguments[0].equals("verify")) {
            byte[] rawBody = System.in.readAllBytes();
            verifyWebhook(System.getenv("PAYD_WEBHOOK_SECRET"), arguments[1], arguments[2], arguments[3], rawBody);
            System.out.println(new String(rawBody, StandardCharsets.UTF_8));
        }
    }
}
