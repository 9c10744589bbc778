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

/** Tokens that the SDK wants: the suite is asked, and answers by number. */
final class Tokens {
    private final Lines lines;
    private final AtomicInteger asks = new AtomicInteger();
    private final Map<Integer, TokenCallback> waiting = new ConcurrentHashMap<>();

    Tokens(Lines lines) {
        this.lines = lines;
    }

    ConnectionTokenGetter forConnection() {
        return new ConnectionTokenGetter() {
            @Override
            public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
                ask(new JsonObject(), callback);
            }
        };
    }

    SubscriptionTokenGetter forSubscription() {
        return new SubscriptionTokenGetter() {
            @Override
            public void getSubscriptionToken(SubscriptionTokenEvent event, TokenCallback callback) {
                JsonObject fields = new JsonObject();
                fields.addProperty("channel", event.getChannel());
                ask(fields, callback);
            }
        };
    }

    void answer(int ask, String token) {
        waiting.remove(ask).Done(null, token);
    }

    private void ask(JsonObject fields, TokenCallback callback) {
        int ask = asks.incrementAndGet();
        waiting.put(ask, callback);
        fields.addProperty("ask", ask);
        lines.event("tokenWanted", fields);
    }
}
