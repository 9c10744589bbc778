// The members of a room: read from presence once, then kept current by joins and leaves.
import type { ClientInfo } from 'centrifuge'
import type { Author } from './message-log.js'
import { authorOf, type OwnIdentity } from './publication.js'

/** A user with at least one connection in the room. */
export interface RoomMember {
  readonly author: Author
  readonly connections: number
}

type MemberEvent = { readonly kind: 'join' | 'leave'; readonly info: ClientInfo }

export class RoomMembers {
  readonly #self: () => OwnIdentity
  #byClient = new Map<string, ClientInfo>()
  /**
   * Events since presence was requested. They are applied again after the reply, which can be older than they
   * are.
   */
  #eventsSinceRead: MemberEvent[] | undefined
  #problem: string | undefined

  constructor(self: () => OwnIdentity) {
    this.#self = self
  }

  /** Why the members are unknown. Undefined while they are known. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** The page's own user first, then the others by name. */
  get list(): readonly RoomMember[] {
    const self = this.#self()
    const byUser = new Map<string, RoomMember>()
    for (const info of this.#byClient.values()) {
      const connections = (byUser.get(info.user)?.connections ?? 0) + 1
      byUser.set(info.user, { author: authorOf(info, self), connections })
    }
    return Array.from(byUser.values()).toSorted(
      (a, b) => Number(b.author.isOwn) - Number(a.author.isOwn) || a.author.name.localeCompare(b.author.name),
    )
  }

  apply(event: MemberEvent): void {
    this.#eventsSinceRead?.push(event)
    if (event.kind === 'join') this.#byClient.set(event.info.client, event.info)
    else this.#byClient.delete(event.info.client)
  }

  /**
   * Replaces all members by the result of `read`. Rejects when `read` rejects; the caller then calls `fail`.
   */
  async refresh(read: () => Promise<readonly ClientInfo[]>): Promise<void> {
    const eventsSinceRead: MemberEvent[] = []
    this.#eventsSinceRead = eventsSinceRead
    try {
      const infos = await read()
      this.#byClient = new Map(infos.map((info) => [info.client, info]))
      this.#problem = undefined
    } finally {
      if (this.#eventsSinceRead === eventsSinceRead) this.#eventsSinceRead = undefined
    }
    for (const event of eventsSinceRead) this.apply(event)
  }

  fail(problem: string): void {
    this.#byClient.clear()
    this.#problem = problem
  }
}
