// What unit tests of sessions share: a transport that only remembers, a policy made short, and a log that
// listens.
import { createLog, type Log } from '../log.js'
import type { CloseCode } from '../protocol/codes.js'
import type { ChannelRule, Limits, TenantPolicy } from '../tenant/policy.js'
import type { Frame, Transport } from './transport.js'

export class FakeTransport implements Transport {
  /** The texts of each write. */
  readonly writes: string[][] = []
  readonly closes: CloseCode[] = []
  bufferedBytes = 0
  /** What the next writes answer: does the kernel take everything? */
  takes = true

  get texts(): string[] {
    return this.writes.flat()
  }

  send(frames: readonly Frame[]): boolean {
    this.writes.push(frames.map(({ payload }) => Buffer.from(payload).toString()))
    return this.takes
  }

  close(code: CloseCode): void {
    this.closes.push(code)
  }
}

export const frame = (text: string): Frame => ({ payload: Buffer.from(text) })

/** All that waits for the end of this turn of the event loop has run. */
export const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })

const wideLimits: Limits = {
  connections: { max: 1000, perUser: 1000, connectsPerSecond: 1000, commandsPerSecond: 1000 },
  messages: { publishPerSecond: 1000, publishBurst: 1000, maxBytes: 32_768, fanoutPerSecond: 1_000_000 },
  channels: {
    max: 1000,
    maxSubscribersPerChannel: 1000,
    maxSubscriptionsPerConnection: 100,
    nameMaxLength: 255,
  },
  retention: { historyMessages: 1000, historyTtlMs: 3_600_000, presence: true },
}

/** Everybody, guests too, may do all in `value`. */
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

/** `wideLimits` with one group changed. */
export function limitsWith<Group extends keyof Limits>(
  group: Group,
  changes: Partial<Limits[Group]>,
): Limits {
  return { ...wideLimits, [group]: { ...wideLimits[group], ...changes } }
}

export const silentLog: Log = createLog({ level: 'silent', name: 'test' })
