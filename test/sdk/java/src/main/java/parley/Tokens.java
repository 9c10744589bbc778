package parley;

import com.google.gson.JsonObject;
import io.github.centrifugal.centrifuge.ConnectionTokenEvent;
import io.github.centrifugal.centrifuge.ConnectionTokenGetter;
import io.github.centrifugal.centrifuge.SubscriptionTokenEvent;
import io.github.centrifugal.centrifuge.SubscriptionTokenGetter;
import io.github.centrifugal.centrifuge.TokenCallback;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/** Requests tokens from the test. Each request has a number, which the test returns with the token. */
final class Tokens {
    private final Lines lines;
    private final AtomicInteger requests = new AtomicInteger();
    private final Map<Integer, TokenCallback> waiting = new ConcurrentHashMap<>();

    Tokens(Lines lines) {
        this.lines = lines;
    }

    ConnectionTokenGetter forConnection() {
        return new ConnectionTokenGetter() {
            @Override
            public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
                request(new JsonObject(), callback);
            }
        };
    }

    SubscriptionTokenGetter forSubscription() {
        return new SubscriptionTokenGetter() {
            @Override
            public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback callback) {
                JsonObject fields = new JsonObject();
                fields.addProperty("channel", event.getChannel());
                request(fields, callback);
            }
        };
    }

    void complete(int request, String token) {
        waiting.remove(request).Done(null, token);
    }

    private void request(JsonObject fields, TokenCallback callback) {
        int number = requests.incrementAndGet();
        waiting.put(number, callback);
        fields.addProperty("request", number);
        lines.event("tokenRequested", fields);
    }
}
