// What a load process is told, and what it answers.
import type { Issuer } from '../../src/tenant/policy.js'
import type { Arrival } from '../../src/load/crowd.js'
import type { RoundOptions, RoundReport } from '../../src/load/round.js'

/** Processes that are measured. */
interface Watched {
  readonly server: readonly number[]
  readonly redis: readonly number[]
}

export interface Visit extends Watched {
  readonly url: string
  readonly language: 'parley' | 'ws' | 'socket.io'
  readonly issuer: Issuer
  /** Visitors are spread over them. */
  readonly tenants: number
  readonly subscribers: number
  readonly publishers: number
  readonly channelPrefix: string
  /** Of all subscribers together. */
  readonly channels: number
  /** Of one subscriber. */
  readonly channelsEach: number
  readonly arrivingMax: number
}

export type Order =
  /** `returning`: who was here before asks for what it missed. */
  | (Visit & { readonly do: 'come'; readonly returning: boolean })
  | (Watched & Omit<RoundOptions, 'channels'> & { readonly do: 'run' })
  | (Watched & { readonly do: 'idle'; readonly seconds: number })
  | { readonly do: 'vanish' }

export interface Usage {
  readonly wallSeconds: number
  readonly cpuSeconds: { readonly server: number; readonly redis: number; readonly load: number }
  readonly rssBytes: { readonly server: number; readonly redis: number }
}

export type CameReport = Arrival & Usage & { readonly recovered: number }
export type RanReport = RoundReport & Usage
export type IdleReport = Usage & { readonly present: number; readonly failures: Record<string, number> }
