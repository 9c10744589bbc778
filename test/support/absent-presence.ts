// A presence that goes away and comes back, as one on Redis does in a failover.
import { CommandError } from '../../src/errors.js'
import { MemoryPresence } from '../../src/presence/memory.js'
import { systemClock } from '../../src/time.js'

export class AbsentPresence extends MemoryPresence {
  away = false
  /** What it rejects with while it is away. */
  error: Error = new CommandError('BROKER_UNAVAILABLE', 'Who is here is not known at the moment')

  constructor() {
    super({ clock: systemClock })
  }

  override async add(...args: Parameters<MemoryPresence['add']>) {
    this.#assertThere()
    return super.add(...args)
  }

  override async remove(...args: Parameters<MemoryPresence['remove']>) {
    this.#assertThere()
    return super.remove(...args)
  }

  override async refresh(...args: Parameters<MemoryPresence['refresh']>) {
    this.#assertThere()
    return super.refresh(...args)
  }

  override async members(...args: Parameters<MemoryPresence['members']>) {
    this.#assertThere()
    return super.members(...args)
  }

  override async stats(...args: Parameters<MemoryPresence['stats']>) {
    this.#assertThere()
    return super.stats(...args)
  }

  #assertThere(): void {
    if (this.away) throw this.error
  }
}
