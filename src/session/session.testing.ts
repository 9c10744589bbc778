// Shared by unit tests of sessions: a transport that records, short policies, and a silent log.
import { createLog, type Log } from '../log.js'
import type { CloseCode } from '../protocol/codes.js'
import type { ChannelRule, Limits, TenantPolicy } from '../tenant/policy.js'
import type { Frame, Transport } from './transport.js'

export class FakeTransport implements Transport {
  /** The payloads of each write, as texts. */
  readonly writes: string[][] = []
  readonly closes: CloseCode[] = []
  bufferedBytes = 0
  /** The result of the next writes. False: the kernel did not take everything. */
  acceptsWrites = true
  isReading = true

  get texts(): string[] {
    return this.writes.flat()
  }

  send(frames: readonly Frame[]): boolean {
    this.writes.push(frames.map(({ payload }) => Buffer.from(payload).toString()))
    return this.acceptsWrites
  }

  close(code: CloseCode): void {
    this.closes.push(code)
  }

  cut(code: CloseCode): void {
    this.closes.push(code)
  }

  read(isReading: boolean): void {
    this.isReading = isReading
  }
}

export const frame = (text: string): Frame => ({ payload: Buffer.from(text) })

/** Resolves after everything that waits for the end of this turn of the event loop has run. */
export const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

const wideLimits: Limits = {
  connections: { max: 1000, perUser: 1000, connectsPerSecond: 1000, commandsPerSecond: 1000, guests: 1000 },
  messages: {
    publishPerSecond: 1000,
    publishBurst: 1000,
    maxBytes: 32_768,
    fanoutPerSecond: 1_000_000,
    readsPerSecond: 1_000_000,
    joinsPerSecond: 1_000_000,
    bytesOutPerSecond: 1_000_000_000,
  },
  channels: {
    max: 1000,
    maxSubscribersPerChannel: 1000,
    maxSubscriptionsPerConnection: 100,
    nameMaxLength: 255,
  },
  retention: { historyMessages: 1000, historyTtlMs: 3_600_000, presence: true, storedBytes: 1_000_000_000 },
  api: { requestsPerSecond: 1_000_000 },
}

/** A rule that allows every operation on the channel `value`, also to guests. */
export function openRule(value: string, changes: Partial<ChannelRule> = {}): ChannelRule {
  return {
    name: value,
    match: { type: 'Literal', value },
    grants: [
      {
        effect: 'Allow',
        operations: ['Subscribe', 'Publish', 'Presence', 'History'],
        subjects: [{ authenticated: true }, { anonymous: true }],
      },
    ],
    history: { size: 100, ttlMs: 60_000 },
    presence: true,
    joinLeave: true,
    sanitize: 'none',
    ...changes,
  }
}

export function policyOf(changes: Partial<TenantPolicy> = {}): TenantPolicy {
  return {
    tenantId: 't1',
    namespace: 'demo',
    name: 'acme',
    revision: 'r1',
    suspended: false,
    enforcement: 'Enforce',
    preemption: 'Never',
    limits: wideLimits,
    allowedOrigins: [],
    issuers: [],
    channels: [openRule('general')],
    ...changes,
  }
}

/** Returns `wideLimits` with changes in one group. */
export function limitsWith<Group extends keyof Limits>(
  group: Group,
  changes: Partial<Limits[Group]>,
): Limits {
  return { ...wideLimits, [group]: { ...wideLimits[group], ...changes } }
}

export const silentLog: Log = createLog({ level: 'silent', name: 'test' })
