// What a conversation shows, in order: messages, and the places where some are missing. Pure: knows no page and no connection.

/** Where the broker put a message. Offsets of two epochs never compare. */
export interface Place {
  readonly epoch: string
  readonly offset: number
}

export interface Author {
  /** Empty when a server published it. */
  readonly user: string
  /** For people's eyes. */
  readonly name: string
  /** Written by this user: here, in another tab or before a reload. */
  readonly own: boolean
}

/** How far a message of ours has come. Those of others are always delivered. */
export type Delivery =
  | { readonly kind: 'delivered' }
  /** It goes out when the connection is back. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'sending' }
  /** The connection broke before the answer: it may have arrived. Seen again, it is delivered. */
  | { readonly kind: 'unsure' }
  | { readonly kind: 'refused'; readonly why: string }

/** Entries are never changed, only replaced: who holds the same object need not look again. */
export interface Message {
  readonly kind: 'message'
  /** Ours; a draft keeps it when it comes back as a publication. */
  readonly id: number
  readonly author: Author
  readonly text: string
  /** Unix milliseconds; undefined when nobody said. */
  readonly timeMs: number | undefined
  /** Undefined for drafts, and in channels without history. */
  readonly place: Place | undefined
  readonly delivery: Delivery
}

export interface Gap {
  readonly kind: 'gap'
  readonly id: number
  readonly words: string
}

export type Entry = Message | Gap

/** A publication as it came, with what only the reader of it knows. */
export interface Arrival {
  readonly author: Author
  readonly text: string
  readonly timeMs: number | undefined
  readonly place: Place | undefined
  /** It was published by this very page, so that one of our drafts may be waiting for it. */
  readonly fromHere: boolean
}

const delivered: Delivery = { kind: 'delivered' }

export class Log {
  readonly #entriesMax: number
  /** Drafts that were not yet seen as a publication. */
  readonly #awaited = new Set<number>()
  readonly #places = new Set<string>()
  #entries: Entry[] = []
  #lastId = 0

  /** Above `entriesMax` the oldest are forgotten; history still has them. */
  constructor(options: { entriesMax: number }) {
    this.#entriesMax = options.entriesMax
  }

  get entries(): readonly Entry[] {
    return this.#entries
  }

  find(id: number): Message | undefined {
    return this.#entries.find((entry): entry is Message => entry.kind === 'message' && entry.id === id)
  }

  /** The oldest message whose place is known: where earlier ones would follow. */
  get oldest(): Place | undefined {
    for (const entry of this.#entries) {
      if (entry.kind === 'message' && entry.place) return entry.place
    }
    return undefined
  }

  /** Puts a publication where it belongs. Undefined: it was there already. */
  receive(arrival: Arrival): Message | undefined {
    const { author, text, timeMs, place } = arrival
    if (place) {
      const key = placeKey(place)
      if (this.#places.has(key)) return undefined
      this.#places.add(key)
    }
    const draft = arrival.fromHere ? this.#takeDraft(text) : undefined
    const id = draft?.id ?? this.#nextId()
    const message: Message = {
      kind: 'message',
      id,
      author,
      text,
      timeMs: timeMs ?? draft?.timeMs,
      place,
      delivery: delivered,
    }
    this.#entries.splice(this.#indexFor(place), 0, message)
    this.#trim()
    return message
  }

  /** For conversations that are not one stream: the time puts it in its place, and seeing it twice is the caller's care. */
  receiveByTime(arrival: Arrival): Message {
    const { author, text, timeMs } = arrival
    const message: Message = {
      kind: 'message',
      id: this.#nextId(),
      author,
      text,
      timeMs,
      place: undefined,
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

  /** Shows a message before anybody else has seen it. */
  draft(author: Author, text: string, options: { timeMs: number; delivery: Delivery }): Message {
    const id = this.#nextId()
    const message: Message = { kind: 'message', id, author, text, place: undefined, ...options }
    this.#entries.push(message)
    this.#awaited.add(id)
    this.#trim()
    return message
  }

  setDelivery(id: number, delivery: Delivery): void {
    this.#entries = this.#entries.map((entry) =>
      entry.kind === 'message' && entry.id === id && entry.place === undefined
        ? { ...entry, delivery }
        : entry,
    )
    if (delivery.kind === 'refused') this.#awaited.delete(id)
    else if (delivery.kind !== 'delivered') this.#awaited.add(id)
  }

  /** Forgets a draft that its author gave up. */
  discard(id: number): void {
    this.#awaited.delete(id)
    this.#entries = this.#entries.filter((entry) => entry.id !== id)
  }

  /** Marks that something may be missing after all that is here now. Two in a row say no more than one. */
  gap(words: string): void {
    const index = this.#indexFor(undefined)
    const before = this.#entries[index - 1]
    if (before === undefined || before.kind === 'gap') return
    this.#entries.splice(index, 0, { kind: 'gap', id: this.#nextId(), words })
  }

  /** Publications of one connection arrive in the order they were sent, so the first draft with the same text is the one. */
  #takeDraft(text: string): Message | undefined {
    const index = this.#entries.findIndex(
      (entry) => entry.kind === 'message' && this.#awaited.has(entry.id) && entry.text === text,
    )
    const [draft] = index === -1 ? [] : this.#entries.splice(index, 1)
    if (draft?.kind !== 'message') return undefined
    this.#awaited.delete(draft.id)
    return draft
  }

  #indexFor(place: Place | undefined): number {
    if (place) {
      const before = this.#entries.findLastIndex(
        (entry) => isNear(entry, place) && entry.place.offset < place.offset,
      )
      if (before !== -1) return this.#pastGaps(before + 1)
      const after = this.#entries.findIndex(
        (entry) => isNear(entry, place) && entry.place.offset > place.offset,
      )
      if (after !== -1) return after
    }
    // What is still on its way stays last: its place is not known, but it is after all that have one.
    return (
      this.#entries.findLastIndex((entry) => entry.kind === 'gap' || entry.delivery.kind === 'delivered') + 1
    )
  }

  /** A gap right behind a message was put there when that was the newest: what is newer comes after the gap. */
  #pastGaps(start: number): number {
    let index = start
    while (this.#entries[index]?.kind === 'gap') index += 1
    return index
  }

  #trim(): void {
    const excess = this.#entries.length - this.#entriesMax
    if (excess <= 0) return
    for (const entry of this.#entries.splice(0, excess)) {
      this.#awaited.delete(entry.id)
      if (entry.kind === 'message' && entry.place) this.#places.delete(placeKey(entry.place))
    }
  }

  #nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }
}

function isNear(entry: Entry, place: Place): entry is Message & { readonly place: Place } {
  return entry.kind === 'message' && entry.place?.epoch === place.epoch
}

function placeKey(place: Place): string {
  return `${place.offset} ${place.epoch}`
}
