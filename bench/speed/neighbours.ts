// The commands of the process that measures the well-behaved neighbour, and its replies.
import type { Issuer } from '../../src/tenant/policy.js'

export interface ProbeTarget {
  readonly name: string
  /** `echo`: the bare ws server. */
  readonly kind: 'parley' | 'echo'
  readonly url: string
}

export type ProbeCommand =
  | { readonly kind: 'start'; readonly issuer: Issuer; readonly targets: readonly ProbeTarget[] }
  | { readonly kind: 'measure'; readonly seconds: number }

/** What the neighbour saw at one target. Times in milliseconds. */
export interface ProbeReport {
  readonly name: string
  readonly messages: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly connectP50: number
  readonly connectP99: number
  /** Publishes and connects that were refused. */
  readonly refused: number
  /** Messages that were not delivered. */
  readonly lost: number
  /** Connections that the server closed. */
  readonly closes: number
}

/** The plan of both tenants. */
export const neighbourLimits = {
  connections: { max: 1_000, perUser: 100, connectsPerSecond: 50, commandsPerSecond: 50, guests: 500 },
  messages: {
    publishPerSecond: 100,
    publishBurst: 200,
    maxBytes: 32_768,
    fanoutPerSecond: 20_000,
    readsPerSecond: 200,
    joinsPerSecond: 1_000,
    bytesOutPerSecond: 10_485_760,
  },
  channels: { max: 10_000, maxSubscribersPerChannel: 1_000, maxSubscriptionsPerConnection: 100 },
  retention: { historyMessages: 1_000, historyTTL: '1h', presence: true, storedBytes: 268_435_456 },
  api: { requestsPerSecond: 100 },
} as const

export const excess = 10
export const dimensions = [
  'publish',
  'fan-out',
  'history',
  'joins',
  'presence',
  'api',
  'connects',
  'storage',
  'control',
  'all',
] as const
