// The locator of a standalone Redis, whose address is always that of its URL.
import type { StandaloneTarget } from '../url.js'
import type { Locator } from './locator.js'

export class FixedLocator implements Locator {
  readonly address: StandaloneTarget['address']
  readonly unavailableReason = undefined
  readonly configError = undefined
  readonly waitReplicas: number
  /** No other server can replace a standalone Redis. */
  readonly failoverAfterMs = Infinity

  /** `dataNodes`: the master and its replicas together. Default 1. */
  constructor({ address }: StandaloneTarget, { dataNodes = 1 }: { dataNodes?: number | undefined } = {}) {
    this.address = address
    this.waitReplicas = Math.floor(dataNodes / 2)
  }

  async confirm(): Promise<boolean> {
    return true
  }

  onChange(): () => void {
    return () => {}
  }

  async run(): Promise<void> {}
}
