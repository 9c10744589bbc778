package parley;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.github.centrifugal.centrifuge.Client;
import io.github.centrifugal.centrifuge.ClientInfo;
import io.github.centrifugal.centrifuge.DuplicateSubscriptionException;
import io.github.centrifugal.centrifuge.HistoryOptions;
import io.github.centrifugal.centrifuge.HistoryResult;
import io.github.centrifugal.centrifuge.Options;
import io.github.centrifugal.centrifuge.PresenceResult;
import io.github.centrifugal.centrifuge.PresenceStatsResult;
import io.github.centrifugal.centrifuge.Publication;
import io.github.centrifugal.centrifuge.ResultCallback;
import io.github.centrifugal.centrifuge.StreamPosition;
import io.github.centrifugal.centrifuge.Subscription;
import io.github.centrifugal.centrifuge.SubscriptionOptions;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.function.Function;

/** One client of centrifuge-java, told what to do line by line: the protocol is in test/sdk/README.md. */
public final class Driver {
    private static final int MIN_DELAY_MS = 10;
    private static final int MAX_DELAY_MS = 50;
    /** A busy machine is slow, not wrong. */
    private static final int TIMEOUT_MS = 30_000;

    private final Lines lines;
    private final Tokens tokens;
    private Client client;

    private Driver(Lines lines) {
        this.lines = lines;
        this.tokens = new Tokens(lines);
    }

    public static void main(String[] args) throws IOException {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);
        // Whatever a library prints goes where logs go.
        System.setOut(System.err);
        Driver driver = new Driver(new Lines(out));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            driver.obey(JsonParser.parseString(line).getAsJsonObject());
        }
        // The SDK's threads would go on.
        System.exit(0);
    }

    private void obey(JsonObject order) {
        String name = order.get("do").getAsString();
        if (name.equals("token")) {
            tokens.answer(order.get("ask").getAsInt(), order.get("token").getAsString());
            return;
        }
        int id = order.get("id").getAsInt();
        try {
            obey(name, id, order);
        } catch (DuplicateSubscriptionException | RuntimeException error) {
            lines.error(id, error);
        }
    }

    private void obey(String name, int id, JsonObject order) throws DuplicateSubscriptionException {
        switch (name) {
            case "connect":
                connect(order);
                lines.result(id, new JsonObject());
                break;
            case "disconnect":
                client.disconnect();
                lines.result(id, new JsonObject());
                break;
            case "subscribe":
                subscription(order).subscribe();
                lines.result(id, new JsonObject());
                break;
            case "unsubscribe":
                client.getSubscription(channelOf(order)).unsubscribe();
                lines.result(id, new JsonObject());
                break;
            case "publish":
                client.publish(channelOf(order), Lines.bytesOf(order.get("data")), answer(id, result -> new JsonObject()));
                break;
            case "history":
                client.history(channelOf(order), historyOptions(order), answer(id, Driver::historyOf));
                break;
            case "presence":
                client.presence(channelOf(order), answer(id, Driver::presenceOf));
                break;
            case "presenceStats":
                client.presenceStats(channelOf(order), answer(id, Driver::presenceStatsOf));
                break;
            default:
                throw new IllegalArgumentException("there is no order \"" + name + "\"");
        }
    }

    private void connect(JsonObject order) {
        Options options = new Options();
        options.setTimeout(TIMEOUT_MS);
        options.setMinReconnectDelay(MIN_DELAY_MS);
        options.setMaxReconnectDelay(MAX_DELAY_MS);
        if (order.has("token")) options.setToken(order.get("token").getAsString());
        if (order.has("name")) options.setName(order.get("name").getAsString());
        if (flag(order, "asksToken")) options.setTokenGetter(tokens.forConnection());
        client = new Client(order.get("url").getAsString(), options, new ClientEvents(lines));
        client.connect();
    }

    /** The one that is there; the options of its first order hold. */
    private Subscription subscription(JsonObject order) throws DuplicateSubscriptionException {
        Subscription known = client.getSubscription(channelOf(order));
        if (known != null) return known;
        for (String foreign : new String[] {"since", "delta", "tagsFilter"}) {
            if (order.has(foreign)) throw new IllegalArgumentException("centrifuge-java has no \"" + foreign + "\"");
        }
        SubscriptionOptions options = new SubscriptionOptions();
        options.setMinResubscribeDelay(MIN_DELAY_MS);
        options.setMaxResubscribeDelay(MAX_DELAY_MS);
        options.setRecoverable(flag(order, "recoverable"));
        options.setPositioned(flag(order, "positioned"));
        options.setJoinLeave(flag(order, "joinLeave"));
        if (order.has("token")) options.setToken(order.get("token").getAsString());
        if (flag(order, "asksToken")) options.setTokenGetter(tokens.forSubscription());
        return client.newSubscription(channelOf(order), options, new SubscriptionEvents(lines));
    }

    private <Result> ResultCallback<Result> answer(int id, Function<Result, JsonObject> toJson) {
        return (error, result) -> {
            if (error == null) lines.result(id, toJson.apply(result));
            else lines.error(id, error);
        };
    }

    private static HistoryOptions historyOptions(JsonObject order) {
        HistoryOptions.Builder options = new HistoryOptions.Builder().withReverse(flag(order, "reverse"));
        if (order.has("limit")) options.withLimit(order.get("limit").getAsInt());
        if (order.has("since")) {
            JsonObject since = order.getAsJsonObject("since");
            options.withSince(new StreamPosition(since.get("offset").getAsLong(), since.get("epoch").getAsString()));
        }
        return options.build();
    }

    private static JsonObject historyOf(HistoryResult result) {
        JsonArray publications = new JsonArray();
        for (Publication publication : result.getPublications()) {
            JsonObject entry = new JsonObject();
            entry.addProperty("offset", publication.getOffset());
            entry.add("data", Lines.jsonOf(publication.getData()));
            publications.add(entry);
        }
        JsonObject fields = new JsonObject();
        fields.add("publications", publications);
        fields.addProperty("offset", result.getOffset());
        fields.addProperty("epoch", result.getEpoch());
        return fields;
    }

    private static JsonObject presenceOf(PresenceResult result) {
        JsonArray clients = new JsonArray();
        for (ClientInfo info : result.getClients().values()) {
            JsonObject entry = new JsonObject();
            entry.addProperty("client", info.getClient());
            entry.addProperty("user", info.getUser());
            clients.add(entry);
        }
        JsonObject fields = new JsonObject();
        fields.add("clients", clients);
        return fields;
    }

    private static JsonObject presenceStatsOf(PresenceStatsResult result) {
        JsonObject fields = new JsonObject();
        fields.addProperty("clients", result.getNumClients());
        fields.addProperty("users", result.getNumUsers());
        return fields;
    }

    private static String channelOf(JsonObject order) {
        return order.get("channel").getAsString();
    }

    private static boolean flag(JsonObject order, String name) {
        JsonElement value = order.get(name);
        return value != null && value.getAsBoolean();
    }
}
