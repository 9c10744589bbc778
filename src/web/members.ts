// Who is in a room: read once, then kept by joins and leaves.
import type { ClientInfo } from 'centrifuge'
import type { Author } from './message-log.js'
import { authorOf, type Self } from './publication.js'

/** A user, however many connections it has. */
export interface Member {
  readonly author: Author
  readonly connections: number
}

type Event = { readonly kind: 'join' | 'leave'; readonly info: ClientInfo }

export class Members {
  readonly #self: () => Self
  #byClient = new Map<string, ClientInfo>()
  /** Events since the question was asked: the answer may be older than they are. */
  #meanwhile: Event[] | undefined
  #problem: string | undefined

  constructor(self: () => Self) {
    this.#self = self
  }

  /** Why nobody can be named. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Ourselves first, then by name. */
  get list(): readonly Member[] {
    const self = this.#self()
    const byUser = new Map<string, Member>()
    for (const info of this.#byClient.values()) {
      const connections = (byUser.get(info.user)?.connections ?? 0) + 1
      byUser.set(info.user, { author: authorOf(info, self), connections })
    }
    return Array.from(byUser.values()).toSorted(
      (a, b) => Number(b.author.own) - Number(a.author.own) || a.author.name.localeCompare(b.author.name),
    )
  }

  apply(event: Event): void {
    this.#meanwhile?.push(event)
    if (event.kind === 'join') this.#byClient.set(event.info.client, event.info)
    else this.#byClient.delete(event.info.client)
  }

  /** Replaces everything by what `read` answers. The caller shows a rejection with `fail`. */
  async refresh(read: () => Promise<readonly ClientInfo[]>): Promise<void> {
    const meanwhile: Event[] = []
    this.#meanwhile = meanwhile
    try {
      const infos = await read()
      this.#byClient = new Map(infos.map((info) => [info.client, info]))
      this.#problem = undefined
    } finally {
      if (this.#meanwhile === meanwhile) this.#meanwhile = undefined
    }
    for (const event of meanwhile) this.apply(event)
  }

  fail(problem: string): void {
    this.#byClient.clear()
    this.#problem = problem
  }
}
