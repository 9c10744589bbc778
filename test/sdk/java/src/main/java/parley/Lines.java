package parley;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.github.centrifugal.centrifuge.ConfigurationError;
import io.github.centrifugal.centrifuge.RefreshError;
import io.github.centrifugal.centrifuge.ReplyError;
import io.github.centrifugal.centrifuge.SubscriptionErrorEvent;
import io.github.centrifugal.centrifuge.SubscriptionRefreshError;
import io.github.centrifugal.centrifuge.SubscriptionSubscribeError;
import io.github.centrifugal.centrifuge.SubscriptionTokenError;
import io.github.centrifugal.centrifuge.TokenError;
import io.github.centrifugal.centrifuge.UnclassifiedError;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/** Writes lines of JSON. The methods are safe for the threads of the SDK. */
final class Lines {
    private final PrintStream out;

    Lines(PrintStream out) {
        this.out = out;
    }

    void result(int id, JsonObject result) {
        JsonObject line = new JsonObject();
        line.addProperty("id", id);
        line.add("result", result);
        write(line);
    }

    void error(int id, Throwable error) {
        JsonObject line = new JsonObject();
        line.addProperty("id", id);
        line.add("error", errorOf(error));
        write(line);
    }

    void event(String name, JsonObject fields) {
        fields.addProperty("event", name);
        write(fields);
    }

    /** Writes an error of the SDK that belongs to no command. */
    void error(Throwable error) {
        event("error", errorOf(error));
    }

    /** Parses data of the SDK, which is JSON in bytes. */
    static JsonElement jsonOf(byte[] data) {
        return JsonParser.parseString(new String(data, StandardCharsets.UTF_8));
    }

    static byte[] bytesOf(JsonElement json) {
        return json.toString().getBytes(StandardCharsets.UTF_8);
    }

    private synchronized void write(JsonObject line) {
        out.println(line);
        out.flush();
    }

    /** The fields of an error. The code is that of the server, or 0 for an error of the SDK. */
    private static JsonObject errorOf(Throwable error) {
        Throwable cause = innermost(error);
        JsonObject fields = new JsonObject();
        fields.addProperty("code", cause instanceof ReplyError ? ((ReplyError) cause).getCode() : 0);
        fields.addProperty("message", String.valueOf(cause instanceof ReplyError ? cause.getMessage() : cause));
        return fields;
    }

    /** The innermost error. The SDK wraps errors in its own fields instead of `getCause`. */
    private static Throwable innermost(Throwable error) {
        Throwable inner = error;
        if (error instanceof ConfigurationError) inner = ((ConfigurationError) error).getError();
        if (error instanceof RefreshError) inner = ((RefreshError) error).getError();
        if (error instanceof SubscriptionErrorEvent) inner = ((SubscriptionErrorEvent) error).getError();
        if (error instanceof SubscriptionRefreshError) inner = ((SubscriptionRefreshError) error).getError();
        if (error instanceof SubscriptionSubscribeError) inner = ((SubscriptionSubscribeError) error).getError();
        if (error instanceof SubscriptionTokenError) inner = ((SubscriptionTokenError) error).getError();
        if (error instanceof TokenError) inner = ((TokenError) error).getError();
        if (error instanceof UnclassifiedError) inner = ((UnclassifiedError) error).getError();
        return inner == error || inner == null ? error : innermost(inner);
    }
}
