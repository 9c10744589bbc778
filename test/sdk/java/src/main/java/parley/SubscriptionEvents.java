package parley;

import com.google.gson.JsonObject;
import io.github.centrifugal.centrifuge.ClientInfo;
import io.github.centrifugal.centrifuge.JoinEvent;
import io.github.centrifugal.centrifuge.LeaveEvent;
import io.github.centrifugal.centrifuge.PublicationEvent;
import io.github.centrifugal.centrifuge.SubscribedEvent;
import io.github.centrifugal.centrifuge.SubscribingEvent;
import io.github.centrifugal.centrifuge.Subscription;
import io.github.centrifugal.centrifuge.SubscriptionErrorEvent;
import io.github.centrifugal.centrifuge.SubscriptionEventListener;
import io.github.centrifugal.centrifuge.UnsubscribedEvent;

/** Writes the events of client-side subscriptions. */
final class SubscriptionEvents extends SubscriptionEventListener {
    private final Lines lines;

    SubscriptionEvents(Lines lines) {
        this.lines = lines;
    }

    @Override
    public void onSubscribing(Subscription subscription, SubscribingEvent event) {
        ended("subscribing", subscription, event.getCode(), event.getReason());
    }

    @Override
    public void onSubscribed(Subscription subscription, SubscribedEvent event) {
        JsonObject fields = in(subscription);
        fields.addProperty("recovered", event.getRecovered());
        fields.addProperty("wasRecovering", event.wasRecovering());
        lines.event("subscribed", fields);
    }

    @Override
    public void onUnsubscribed(Subscription subscription, UnsubscribedEvent event) {
        ended("unsubscribed", subscription, event.getCode(), event.getReason());
    }

    @Override
    public void onPublication(Subscription subscription, PublicationEvent event) {
        JsonObject fields = in(subscription);
        fields.add("data", Lines.jsonOf(event.getData()));
        fields.addProperty("offset", event.getOffset());
        JsonObject tags = new JsonObject();
        if (event.getTags() != null) event.getTags().forEach(tags::addProperty);
        fields.add("tags", tags);
        lines.event("publication", fields);
    }

    @Override
    public void onJoin(Subscription subscription, JoinEvent event) {
        member("join", subscription, event.getInfo());
    }

    @Override
    public void onLeave(Subscription subscription, LeaveEvent event) {
        member("leave", subscription, event.getInfo());
    }

    @Override
    public void onError(Subscription subscription, SubscriptionErrorEvent event) {
        lines.error(event);
    }

    private void ended(String name, Subscription subscription, int code, String reason) {
        JsonObject fields = in(subscription);
        fields.addProperty("code", code);
        fields.addProperty("reason", reason);
        lines.event(name, fields);
    }

    private void member(String name, Subscription subscription, ClientInfo info) {
        JsonObject fields = in(subscription);
        fields.addProperty("user", info.getUser());
        fields.addProperty("client", info.getClient());
        lines.event(name, fields);
    }

    private static JsonObject in(Subscription subscription) {
        JsonObject fields = new JsonObject();
        fields.addProperty("channel", subscription.getChannel());
        return fields;
    }
}
