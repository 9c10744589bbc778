// Routes the broker's publications and announcements: messages between gateways to the control channels, all
// others to the hub.
import type { Announcement, BrokerListener, ChannelRef, Position, Publication } from '../broker/broker.js'
import { commandsChannel, type CommandFollower } from './fleet/command-follower.js'
import { controlTenantId, type ControlChannel } from './fleet/control.js'

export interface DemultiplexerTargets {
  readonly hub: BrokerListener
  /** Receives what is published on the gateways' own channels. */
  readonly control: Pick<ControlChannel, 'onPublication'>
  /** Receives what is published on the control channels of tenants. */
  readonly commands: Pick<CommandFollower, 'onPublication' | 'onContinuityLost'>
}

/** The broker's only listener in a gateway. */
export class Demultiplexer implements BrokerListener {
  readonly #hub: BrokerListener
  readonly #control: DemultiplexerTargets['control']
  readonly #commands: DemultiplexerTargets['commands']

  constructor({ commands, control, hub }: DemultiplexerTargets) {
    this.#hub = hub
    this.#control = control
    this.#commands = commands
  }

  onPublication(ref: ChannelRef, publication: Publication): void {
    if (ref.channel === commandsChannel) this.#commands.onPublication(ref, publication)
    else if (ref.tenantId === controlTenantId) this.#control.onPublication(ref, publication)
    else this.#hub.onPublication(ref, publication)
  }

  onContinuityLost(ref: ChannelRef, top: Position): void {
    if (ref.channel === commandsChannel) this.#commands.onContinuityLost(ref, top)
    // Surveys keep no history, so nothing can be missing.
    else if (ref.tenantId !== controlTenantId) this.#hub.onContinuityLost(ref, top)
  }

  /** Gateways announce no presence on their control channels, so every announcement is for the hub. */
  onAnnouncement(ref: ChannelRef, announcement: Announcement): void {
    this.#hub.onAnnouncement(ref, announcement)
  }
}
