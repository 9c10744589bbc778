// The entries that a conversation shows, in order: messages, and markers where messages may be missing. Uses
// neither the document nor the connection.

/** The position of a message in its stream. Offsets of two epochs must not be compared. */
export interface MessagePosition {
  readonly epoch: string
  readonly offset: number
}

export interface Author {
  /** The id of the user. Empty for a message that a server published. */
  readonly user: string
  /** The display name. */
  readonly name: string
  /** True for a message of the user of this page, also when it was sent in another tab or before a reload. */
  readonly isOwn: boolean
}

/** The state of a message that this page sends. Messages of other users are always `delivered`. */
export type Delivery =
  | { readonly kind: 'delivered' }
  /** Will be sent when the connection is back. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'sending' }
  /** The connection was lost before the reply, so that it is unknown whether the message was published. */
  | { readonly kind: 'unconfirmed' }
  | { readonly kind: 'refused'; readonly reason: string }

/**
 * A message. Entries are immutable: a change replaces the object, so that the same object means no change.
 */
export interface ChatMessage {
  readonly kind: 'message'
  /** Unique in the log. A draft keeps its id when its publication arrives. */
  readonly id: number
  readonly author: Author
  readonly text: string
  /** Unix milliseconds. Undefined when the publication has no time. */
  readonly timeMs: number | undefined
  /** Undefined for drafts, and for messages of channels without history. */
  readonly position: MessagePosition | undefined
  readonly delivery: Delivery
}

export interface LogGap {
  readonly kind: 'gap'
  readonly id: number
  readonly text: string
}

export type LogEntry = ChatMessage | LogGap

/** A publication, with what the page knows about it. */
export interface ReceivedMessage {
  readonly author: Author
  readonly text: string
  readonly timeMs: number | undefined
  readonly position: MessagePosition | undefined
  /** True when this page published it, so that a draft may be waiting for it. */
  readonly isFromThisPage: boolean
}

const delivered: Delivery = { kind: 'delivered' }

export class MessageLog {
  readonly #entriesMax: number
  /** Ids of the drafts whose publication has not arrived. */
  readonly #unmatchedDrafts = new Set<number>()
  readonly #positionKeys = new Set<string>()
  #entries: LogEntry[] = []
  #lastId = 0

  /** Above `entriesMax`, the oldest entries are removed. History still has them. */
  constructor(options: { entriesMax: number }) {
    this.#entriesMax = options.entriesMax
  }

  get entries(): readonly LogEntry[] {
    return this.#entries
  }

  find(id: number): ChatMessage | undefined {
    return this.#entries.find((entry): entry is ChatMessage => entry.kind === 'message' && entry.id === id)
  }

  /** Position of the oldest message that has one. Older messages are loaded from there. */
  get oldest(): MessagePosition | undefined {
    for (const entry of this.#entries) {
      if (entry.kind === 'message' && entry.position) return entry.position
    }
    return undefined
  }

  /** Inserts a publication at its position. Returns undefined when the log has it already. */
  receive(received: ReceivedMessage): ChatMessage | undefined {
    const { author, text, timeMs, position } = received
    if (position) {
      const key = positionKey(position)
      if (this.#positionKeys.has(key)) return undefined
      this.#positionKeys.add(key)
    }
    const draft = received.isFromThisPage ? this.#takeDraft(text) : undefined
    const id = draft?.id ?? this.#nextId()
    const message: ChatMessage = {
      kind: 'message',
      id,
      author,
      text,
      timeMs: timeMs ?? draft?.timeMs,
      position,
      delivery: delivered,
    }
    this.#entries.splice(this.#indexFor(position), 0, message)
    this.#trim()
    return message
  }

  /**
   * Inserts a publication by its time, for conversations that are not one stream. The caller removes
   * duplicates.
   */
  receiveByTime(received: ReceivedMessage): ChatMessage {
    const { author, text, timeMs } = received
    const message: ChatMessage = {
      kind: 'message',
      id: this.#nextId(),
      author,
      text,
      timeMs,
      position: undefined,
      delivery: delivered,
    }
    const later = this.#entries.findIndex(
      (entry) => entry.kind === 'message' && (entry.timeMs ?? 0) > (timeMs ?? Infinity),
    )
    const end = this.#indexFor(undefined)
    this.#entries.splice(later === -1 ? end : Math.min(later, end), 0, message)
    this.#trim()
    return message
  }

  /** Appends a message that is not published yet. */
  draft(author: Author, text: string, options: { timeMs: number; delivery: Delivery }): ChatMessage {
    const id = this.#nextId()
    const message: ChatMessage = { kind: 'message', id, author, text, position: undefined, ...options }
    this.#entries.push(message)
    this.#unmatchedDrafts.add(id)
    this.#trim()
    return message
  }

  setDelivery(id: number, delivery: Delivery): void {
    this.#entries = this.#entries.map((entry) =>
      entry.kind === 'message' && entry.id === id && entry.position === undefined
        ? { ...entry, delivery }
        : entry,
    )
    if (delivery.kind === 'refused') this.#unmatchedDrafts.delete(id)
    else if (delivery.kind !== 'delivered') this.#unmatchedDrafts.add(id)
  }

  /** Removes a draft that its author discarded. */
  discard(id: number): void {
    this.#unmatchedDrafts.delete(id)
    this.#entries = this.#entries.filter((entry) => entry.id !== id)
  }

  /**
   * Marks that messages may be missing after the last delivered one. Does nothing in an empty log and after
   * another marker.
   */
  gap(text: string): void {
    const index = this.#indexFor(undefined)
    const before = this.#entries[index - 1]
    if (before === undefined || before.kind === 'gap') return
    this.#entries.splice(index, 0, { kind: 'gap', id: this.#nextId(), text })
  }

  /**
   * Removes and returns the first draft with this text. It is the right one, since publications of one
   * connection arrive in the order in which they were sent.
   */
  #takeDraft(text: string): ChatMessage | undefined {
    const index = this.#entries.findIndex(
      (entry) => entry.kind === 'message' && this.#unmatchedDrafts.has(entry.id) && entry.text === text,
    )
    const [draft] = index === -1 ? [] : this.#entries.splice(index, 1)
    if (draft?.kind !== 'message') return undefined
    this.#unmatchedDrafts.delete(draft.id)
    return draft
  }

  #indexFor(position: MessagePosition | undefined): number {
    if (position) {
      const before = this.#entries.findLastIndex(
        (entry) => hasEpochOf(entry, position) && entry.position.offset < position.offset,
      )
      if (before !== -1) return this.#afterGaps(before + 1)
      const after = this.#entries.findIndex(
        (entry) => hasEpochOf(entry, position) && entry.position.offset > position.offset,
      )
      if (after !== -1) return after
    }
    // Drafts stay last: their position is unknown, but it is after all known positions.
    return (
      this.#entries.findLastIndex((entry) => entry.kind === 'gap' || entry.delivery.kind === 'delivered') + 1
    )
  }

  /**
   * A gap marker after a message was added when that message was the newest, so newer messages belong after
   * the marker.
   */
  #afterGaps(start: number): number {
    let index = start
    while (this.#entries[index]?.kind === 'gap') index += 1
    return index
  }

  #trim(): void {
    const excess = this.#entries.length - this.#entriesMax
    if (excess <= 0) return
    for (const entry of this.#entries.splice(0, excess)) {
      this.#unmatchedDrafts.delete(entry.id)
      if (entry.kind === 'message' && entry.position) this.#positionKeys.delete(positionKey(entry.position))
    }
  }

  #nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }
}

function hasEpochOf(
  entry: LogEntry,
  position: MessagePosition,
): entry is ChatMessage & { readonly position: MessagePosition } {
  return entry.kind === 'message' && entry.position?.epoch === position.epoch
}

function positionKey(position: MessagePosition): string {
  return `${position.offset} ${position.epoch}`
}
