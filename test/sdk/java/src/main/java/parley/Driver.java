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

/** Controls one client of centrifuge-java by commands, one per line. test/sdk/README.md describes the protocol. */
public final class Driver {
    private static final int MIN_DELAY_MS = 10;
    private static final int MAX_DELAY_MS = 50;
    /** Long enough for a busy machine. */
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
        // Output of libraries goes to the standard error.
        System.setOut(System.err);
        Driver driver = new Driver(new Lines(out));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            driver.execute(JsonParser.parseString(line).getAsJsonObject());
        }
        // The threads of the SDK would keep the process running.
        System.exit(0);
    }

    private void execute(JsonObject command) {
        String name = command.get("command").getAsString();
        if (name.equals("token")) {
            tokens.complete(command.get("request").getAsInt(), command.get("token").getAsString());
            return;
        }
        int id = command.get("id").getAsInt();
        try {
            execute(name, id, command);
        } catch (DuplicateSubscriptionException | RuntimeException error) {
            lines.error(id, error);
        }
    }

    private void execute(String name, int id, JsonObject command) throws DuplicateSubscriptionException {
        switch (name) {
            case "connect":
                connect(command);
                lines.result(id, new JsonObject());
                break;
            case "disconnect":
                client.disconnect();
                lines.result(id, new JsonObject());
                break;
            case "subscribe":
                subscription(command).subscribe();
                lines.result(id, new JsonObject());
                break;
            case "unsubscribe":
                client.getSubscription(channelOf(command)).unsubscribe();
                lines.result(id, new JsonObject());
                break;
            case "publish":
                client.publish(channelOf(command), Lines.bytesOf(command.get("data")), replyTo(id, result -> new JsonObject()));
                break;
            case "history":
                client.history(channelOf(command), historyOptions(command), replyTo(id, Driver::historyOf));
                break;
            case "presence":
                client.presence(channelOf(command), replyTo(id, Driver::presenceOf));
                break;
            case "presenceStats":
                client.presenceStats(channelOf(command), replyTo(id, Driver::presenceStatsOf));
                break;
            default:
                throw new IllegalArgumentException("unknown command \"" + name + "\"");
        }
    }

    private void connect(JsonObject command) {
        Options options = new Options();
        options.setTimeout(TIMEOUT_MS);
        options.setMinReconnectDelay(MIN_DELAY_MS);
        options.setMaxReconnectDelay(MAX_DELAY_MS);
        if (command.has("token")) options.setToken(command.get("token").getAsString());
        if (flag(command, "requestsToken")) options.setTokenGetter(tokens.forConnection());
        client = new Client(command.get("url").getAsString(), options, new ClientEvents(lines));
        client.connect();
    }

    /** Returns the existing subscription with its first options, or a new one. */
    private Subscription subscription(JsonObject command) throws DuplicateSubscriptionException {
        Subscription known = client.getSubscription(channelOf(command));
        if (known != null) return known;
        for (String unsupported : new String[] {"since", "delta", "tagsFilter"}) {
            if (command.has(unsupported)) throw new IllegalArgumentException("centrifuge-java does not support \"" + unsupported + "\"");
        }
        SubscriptionOptions options = new SubscriptionOptions();
        options.setMinResubscribeDelay(MIN_DELAY_MS);
        options.setMaxResubscribeDelay(MAX_DELAY_MS);
        options.setRecoverable(flag(command, "recoverable"));
        options.setJoinLeave(flag(command, "joinLeave"));
        if (command.has("token")) options.setToken(command.get("token").getAsString());
        if (flag(command, "requestsToken")) options.setTokenGetter(tokens.forSubscription());
        return client.newSubscription(channelOf(command), options, new SubscriptionEvents(lines));
    }

    private <Result> ResultCallback<Result> replyTo(int id, Function<Result, JsonObject> toJson) {
        return (error, result) -> {
            if (error == null) lines.result(id, toJson.apply(result));
            else lines.error(id, error);
        };
    }

    private static HistoryOptions historyOptions(JsonObject command) {
        HistoryOptions.Builder options = new HistoryOptions.Builder().withReverse(flag(command, "reverse"));
        if (command.has("limit")) options.withLimit(command.get("limit").getAsInt());
        if (command.has("since")) {
            JsonObject since = command.getAsJsonObject("since");
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

    private static String channelOf(JsonObject command) {
        return command.get("channel").getAsString();
    }

    private static boolean flag(JsonObject command, String name) {
        JsonElement value = command.get(name);
        return value != null && value.getAsBoolean();
    }
}
