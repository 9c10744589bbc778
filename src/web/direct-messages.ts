// Direct messages. One is published to `dm:<user>`, which that user alone may read; so each user has one inbox, and here it is sorted
// into conversations. What we wrote ourselves comes back to nobody: this tab remembers it.
import type { PublicationContext, SubscribedContext, Subscription } from 'centrifuge'
import type { Connection } from './connection.js'
import { type Conversation, entriesMax, historyPage, type Membership, Unread } from './conversation.js'
import { type Arrival, Log, type Message } from './message-log.js'
import { Outbox } from './outbox.js'
import { arrivalOf, displayNameOf, me } from './publication.js'
import type { SentDirects } from './sent-directs.js'
import { isAnswer, refusalOf, withFullStop } from './error-text.js'

const gapWords = 'Something may be missing here: the connection was away longer than your inbox remembers.'

export interface DirectsEvents {
  changed(): void
  received(direct: Direct, message: Message): void
}

export class Direct implements Conversation {
  readonly kind = 'direct'
  readonly name: string
  readonly log = new Log({ entriesMax })
  readonly unread = new Unread()
  readonly outbox: Outbox
  /** Writing is always tried; the gateway's answer stands at the message. */
  readonly membership: Membership = { kind: 'joined' }
  readonly earlier = 'none'
  readonly members = undefined
  readonly #inboxProblem: () => string | undefined

  constructor(name: string, parts: { outbox(log: Log): Outbox; inboxProblem: () => string | undefined }) {
    this.name = name
    this.outbox = parts.outbox(this.log)
    this.#inboxProblem = parts.inboxProblem
  }

  get about(): string {
    const problem = this.#inboxProblem()
    const between = `Between you and ${displayNameOf(this.name)} alone.`
    return problem ? `${between} Answers cannot reach you: ${problem}` : between
  }

  opened(): void {}
  loadEarlier(): void {}
  rejoin(): void {}
}

export class Directs {
  readonly #connection: Connection
  readonly #sent: SentDirects
  readonly #events: DirectsEvents
  readonly #conversations = new Map<string, Direct>()
  readonly #seen = new Set<string>()
  #inbox: Subscription | undefined
  #epoch = ''
  /** Live messages that came before the history they follow. */
  #held: Arrival[] | undefined
  #problem: string | undefined

  constructor(connection: Connection, options: { sent: SentDirects; events: DirectsEvents }) {
    this.#connection = connection
    this.#sent = options.sent
    this.#events = options.events
    for (const { to, text, timeMs } of this.#sent.list) {
      const author = me(connection.self)
      this.with(to).log.receive({ author, text, timeMs, place: undefined, fromHere: false })
    }
  }

  get conversations(): readonly Direct[] {
    return Array.from(this.#conversations.values())
  }

  /** Why nothing can be received. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** The conversation with `user`; begun if there is none. */
  with(user: string): Direct {
    const known = this.#conversations.get(user)
    if (known) return known
    const direct = new Direct(user, {
      inboxProblem: () => this.#problem,
      outbox: (log) =>
        new Outbox({
          log,
          isOpen: () => this.#connection.state.kind === 'connected',
          publish: (text) => this.#publish(user, text),
          me: () => me(this.#connection.self),
          changed: () => this.#events.changed(),
        }),
    })
    this.#conversations.set(user, direct)
    return direct
  }

  /** Called with each connection: a user's inbox stays the same, a guest's goes with the connection. */
  listen(): void {
    const channel = `dm:${this.#connection.self.user ?? ''}`
    for (const direct of this.#conversations.values()) direct.outbox.flush()
    if (this.#inbox?.channel === channel) return
    if (this.#inbox) {
      this.#inbox.removeAllListeners()
      this.#inbox.unsubscribe()
      this.#connection.client.removeSubscription(this.#inbox)
    }
    this.#held = []
    this.#epoch = ''
    const inbox = this.#connection.client.newSubscription(channel, { recoverable: true })
    this.#inbox = inbox
      .on('subscribed', (context) => this.#onSubscribed(inbox, context))
      .on('publication', (publication) => this.#onPublication(publication))
      .on('unsubscribed', ({ reason }) => this.#fail(reason))
    inbox.subscribe()
  }

  async #publish(user: string, text: string): Promise<void> {
    await this.#connection.client.publish(`dm:${user}`, text)
    this.#sent.add({ to: user, text, timeMs: Date.now() })
  }

  #onSubscribed(inbox: Subscription, context: SubscribedContext): void {
    const isReturn = this.#epoch !== ''
    this.#epoch = context.streamPosition?.epoch ?? ''
    this.#problem = undefined
    if (isReturn && !context.recovered)
      for (const direct of this.#conversations.values()) direct.log.gap(gapWords)
    if (this.#held || !context.recovered) void this.#loadHistory(inbox)
    this.#events.changed()
  }

  #onPublication(publication: PublicationContext): void {
    const arrival = arrivalOf(publication, { self: this.#connection.self, epoch: this.#epoch })
    const dated = { ...arrival, timeMs: arrival.timeMs ?? Date.now() }
    if (this.#held) this.#held.push(dated)
    else this.#receive(dated, { isNew: true })
  }

  /** Never rejects: an inbox without history receives from now on. */
  async #loadHistory(inbox: Subscription): Promise<void> {
    const self = this.#connection.self
    try {
      const page = await inbox.history({ limit: historyPage, reverse: true })
      const arrivals = page.publications.map((publication) =>
        arrivalOf(publication, { self, epoch: page.epoch }),
      )
      for (const arrival of arrivals.toReversed()) this.#receive(arrival, { isNew: false })
    } catch (error) {
      // No answer: the next connection asks again, and what is live waits for it.
      if (!isAnswer(refusalOf(error))) return
    }
    for (const arrival of this.#held?.splice(0) ?? []) this.#receive(arrival, { isNew: true })
    this.#held = undefined
    this.#events.changed()
  }

  #receive(arrival: Arrival, options: { isNew: boolean }): void {
    if (arrival.place) {
      const key = `${arrival.place.offset} ${arrival.place.epoch}`
      if (this.#seen.has(key)) return
      this.#seen.add(key)
      // The oldest goes: no history that we ask for reaches back so far.
      if (this.#seen.size > entriesMax) this.#seen.delete(Array.from(this.#seen)[0] ?? '')
    }
    const direct = this.with(arrival.author.user)
    // The inbox orders what came in, and knows nothing of what went out between: time does.
    const message = direct.log.receiveByTime(arrival)
    if (options.isNew) this.#events.received(direct, message)
  }

  #fail(reason: string): void {
    this.#problem = withFullStop(refusalOf({ message: reason }).message)
    this.#events.changed()
  }
}
