// A presence that becomes unavailable and comes back, like one on Redis in a failover.
import { CommandError } from '../../src/errors.js'
import { MemoryPresence } from '../../src/presence/memory.js'
import { systemClock } from '../../src/time.js'

export class AbsentPresence extends MemoryPresence {
  away = false
  /** The error of every call while `away` is true. */
  error: Error = new CommandError('BROKER_UNAVAILABLE', 'Who is here is not known at the moment')

  constructor() {
    super({ clock: systemClock })
  }

  override async add(...args: Parameters<MemoryPresence['add']>) {
    this.#assertAvailable()
    return super.add(...args)
  }

  override async remove(...args: Parameters<MemoryPresence['remove']>) {
    this.#assertAvailable()
    return super.remove(...args)
  }

  override async refresh(...args: Parameters<MemoryPresence['refresh']>) {
    this.#assertAvailable()
    return super.refresh(...args)
  }

  override async members(...args: Parameters<MemoryPresence['members']>) {
    this.#assertAvailable()
    return super.members(...args)
  }

  override async stats(...args: Parameters<MemoryPresence['stats']>) {
    this.#assertAvailable()
    return super.stats(...args)
  }

  #assertAvailable(): void {
    if (this.away) throw this.error
  }
}
