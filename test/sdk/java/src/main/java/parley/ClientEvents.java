package parley;

import com.google.gson.JsonObject;
import io.github.centrifugal.centrifuge.Client;
import io.github.centrifugal.centrifuge.ConnectedEvent;
import io.github.centrifugal.centrifuge.ConnectingEvent;
import io.github.centrifugal.centrifuge.DisconnectedEvent;
import io.github.centrifugal.centrifuge.ErrorEvent;
import io.github.centrifugal.centrifuge.EventListener;
import io.github.centrifugal.centrifuge.ServerPublicationEvent;
import io.github.centrifugal.centrifuge.ServerSubscribedEvent;
import io.github.centrifugal.centrifuge.ServerUnsubscribedEvent;

/** Writes the events of the connection and of server-side subscriptions. */
final class ClientEvents extends EventListener {
    private final Lines lines;

    ClientEvents(Lines lines) {
        this.lines = lines;
    }

    @Override
    public void onConnecting(Client client, ConnectingEvent event) {
        ended("connecting", event.getCode(), event.getReason());
    }

    @Override
    public void onConnected(Client client, ConnectedEvent event) {
        JsonObject fields = new JsonObject();
        fields.addProperty("client", event.getClient());
        fields.add("data", Lines.jsonOf(event.getData()));
        lines.event("connected", fields);
    }

    @Override
    public void onDisconnected(Client client, DisconnectedEvent event) {
        ended("disconnected", event.getCode(), event.getReason());
    }

    @Override
    public void onError(Client client, ErrorEvent event) {
        lines.error(event.getError());
    }

    // The event has no position, neither here nor for client-side subscriptions, because the SDK does not expose it.
    @Override
    public void onSubscribed(Client client, ServerSubscribedEvent event) {
        JsonObject fields = inChannel(event.getChannel());
        fields.addProperty("recovered", event.getRecovered());
        fields.addProperty("wasRecovering", event.wasRecovering());
        lines.event("serverSubscribed", fields);
    }

    @Override
    public void onPublication(Client client, ServerPublicationEvent event) {
        JsonObject fields = inChannel(event.getChannel());
        fields.add("data", Lines.jsonOf(event.getData()));
        fields.addProperty("offset", event.getOffset());
        lines.event("serverPublication", fields);
    }

    @Override
    public void onUnsubscribed(Client client, ServerUnsubscribedEvent event) {
        lines.event("serverUnsubscribed", inChannel(event.getChannel()));
    }

    private void ended(String name, int code, String reason) {
        JsonObject fields = new JsonObject();
        fields.addProperty("code", code);
        fields.addProperty("reason", reason);
        lines.event(name, fields);
    }

    private static JsonObject inChannel(String channel) {
        JsonObject fields = new JsonObject();
        fields.addProperty("channel", channel);
        return fields;
    }
}
