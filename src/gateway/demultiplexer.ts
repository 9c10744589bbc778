// Routes the broker's publications and announcements: messages between gateways to the control channel, all
// others to the hub.
import type { Announcement, BrokerListener, ChannelRef, Position, Publication } from '../broker/broker.js'
import { controlTenantId, type ControlChannel } from './fleet/control.js'

/** The broker's only listener in a gateway. The hub and the control channel are peers behind it. */
export class Demultiplexer implements BrokerListener {
  readonly #hub: BrokerListener
  readonly #control: Pick<ControlChannel, 'onPublication' | 'onContinuityLost'>

  constructor(hub: BrokerListener, control: Pick<ControlChannel, 'onPublication' | 'onContinuityLost'>) {
    this.#hub = hub
    this.#control = control
  }

  onPublication(ref: ChannelRef, publication: Publication): void {
    if (ref.tenantId === controlTenantId) this.#control.onPublication(ref, publication)
    else this.#hub.onPublication(ref, publication)
  }

  onContinuityLost(ref: ChannelRef, top: Position): void {
    if (ref.tenantId === controlTenantId) this.#control.onContinuityLost()
    else this.#hub.onContinuityLost(ref, top)
  }

  /** Gateways announce no presence on their control channels, so every announcement is for the hub. */
  onAnnouncement(ref: ChannelRef, announcement: Announcement): void {
    this.#hub.onAnnouncement(ref, announcement)
  }
}
