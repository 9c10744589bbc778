// A presence store that becomes unavailable and available again, like one on Redis during a failover.
import { CommandError } from '../../src/errors.js'
import { MemoryPresence } from '../../src/presence/memory.js'
import { systemClock } from '../../src/time.js'

export class UnavailablePresence extends MemoryPresence {
  unavailable = false
  /** The error of every call while `unavailable` is true. */
  error: Error = new CommandError('BROKER_UNAVAILABLE', 'Presence is unavailable: Redis does not answer')

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
    if (this.unavailable) throw this.error
  }
}
