// The commands of a load process, and its replies.
import type { Issuer } from '../../src/tenant/policy.js'
import type { ConnectReport } from '../../src/load/load-generator.js'
import type { RoundOptions, RoundReport } from '../../src/load/round.js'

/** The processes whose CPU time and memory are measured, by process id. */
interface MeasuredProcesses {
  readonly server: readonly number[]
  readonly redis: readonly number[]
}

/** The server under test, and the clients that connect to it. */
export interface LoadPlan extends MeasuredProcesses {
  readonly url: string
  readonly protocol: 'parley' | 'ws' | 'socket.io'
  readonly issuer: Issuer
  /** Number of tenants, over which the clients are spread. */
  readonly tenants: number
  readonly subscribers: number
  readonly publishers: number
  readonly channelPrefix: string
  /** Number of channels of all subscribers together. */
  readonly channels: number
  /** Number of channels of one subscriber. */
  readonly channelsEach: number
  readonly connectingMax: number
}

export type LoadCommand =
  /** With `recovers`, clients that were connected before recover what they missed. */
  | (LoadPlan & { readonly kind: 'connect'; readonly recovers: boolean })
  | (MeasuredProcesses & Omit<RoundOptions, 'channels'> & { readonly kind: 'run' })
  | (MeasuredProcesses & { readonly kind: 'idle'; readonly seconds: number })
  | { readonly kind: 'disconnect' }

export interface Usage {
  readonly wallSeconds: number
  readonly cpuSeconds: { readonly server: number; readonly redis: number; readonly load: number }
  readonly rssBytes: { readonly server: number; readonly redis: number }
}

export type MeasuredConnects = ConnectReport & Usage & { readonly recovered: number }
export type MeasuredRound = RoundReport & Usage
export type MeasuredIdle = Usage & { readonly connected: number; readonly failures: Record<string, number> }
