// The way of all writes that are acknowledged alike: to the writer of whatever shard holds their partition.
import { Router, type LaneReport, type RouterOptions } from '../../redis/routing/shard-router.js'
import { commitOf, type Commit, type CommitEntry } from './pending-write.js'

export class Writers {
  readonly #options: RouterOptions<Commit>
  readonly #router: Router<Commit>

  constructor(options: RouterOptions<Commit>) {
    this.#options = options
    this.#router = new Router(options)
  }

  /** For the lanes of all shards. */
  get report(): LaneReport<Commit> {
    return this.#router
  }

  /** Rejects with CommandError: NOT_REPLICATED (outcome unknown), BROKER_UNAVAILABLE (nothing was stored), or what the entry refuses with. */
  submit<Result>(entry: CommitEntry<Result>): Promise<Result> {
    const sinceMs = this.#options.clock.monotonicMs()
    return new Promise<Result>((resolve, reject) => {
      this.#router.send(commitOf(entry, { sinceMs, resolve, reject }))
    })
  }

  close(): void {
    this.#router.close()
  }
}
