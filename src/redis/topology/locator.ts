// Where the master is. One locator serves all links to it.
import type { Log } from '../../log.js'
import { SentinelLocator } from './sentinel.js'
import type { SurveyTiming } from './poller.js'
import type { Address, SentinelTarget, StandaloneTarget } from '../url.js'

/** Levels, not edges: `onChange` only says that it is time to look. */
export interface Locator {
  /** Of the master, as far as known; kept while nobody can be asked. Undefined: never known yet. */
  readonly address: Address | undefined
  /** Why the address is unknown or cannot be checked; undefined when all is well. */
  readonly trouble: string | undefined
  /** A sentence when it cannot be found as configured, whatever happens: a wrong name, a refused password. */
  readonly mistake: string | undefined
  /** Replicas that make a majority of the data nodes together with the master. Undefined: not known yet. One that is away counts. */
  readonly waitReplicas: number | undefined
  /** Asks afresh: is this the master, and nobody about to replace it? False in doubt. */
  confirm(address: Address): Promise<boolean>
  /** A master that was silent for less than this was not given up by anybody. */
  readonly silenceMs: number
  /** Called after each change of the address. Returns how to stop that. */
  onChange(listener: () => void): () => void
  /** Looks until `signal` ends it. */
  run(signal: AbortSignal): Promise<void>
}

export interface LocatorOptions {
  readonly log: Log
  /** Masters and replicas together, when the operator says it. */
  readonly dataNodes?: number | undefined
  readonly sentinelTiming?: Partial<SurveyTiming> | undefined
}

export function createLocator(target: StandaloneTarget | SentinelTarget, options: LocatorOptions): Locator {
  return target.kind === 'sentinel' ? new SentinelLocator(target, options) : new FixedLocator(target, options)
}

/** A standalone Redis is where its URL says. */
class FixedLocator implements Locator {
  readonly address: Address
  readonly trouble = undefined
  readonly mistake = undefined
  readonly waitReplicas: number

  constructor({ address }: StandaloneTarget, { dataNodes = 1 }: LocatorOptions) {
    this.address = address
    this.waitReplicas = Math.floor(dataNodes / 2)
  }

  /** Nobody could replace it. */
  readonly silenceMs = Infinity

  async confirm(): Promise<boolean> {
    return true
  }

  onChange(): () => void {
    return () => {}
  }

  async run(): Promise<void> {}
}
