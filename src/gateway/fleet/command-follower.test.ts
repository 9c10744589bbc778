import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import type { Broker, HistoryPage, Publication } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { createLog, LimitedLog } from '../../log.js'
import type { Session } from '../../session/session.js'
import { policyOf, turn } from '../../session/session.testing.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { CommandFollower, commandsChannel } from './command-follower.js'
import type { UserCommand } from './control-messages.js'
import type { ReceivedCommand } from './user-commands.js'

const ref = { tenantId: 't1', channel: commandsChannel }
const disconnect = (user: string): UserCommand => ({ kind: 'disconnect', user, code: 3503, reason: '' })

function messageOf(offset: number, ...commands: unknown[]): Publication {
  return { data: Buffer.from(JSON.stringify({ commands })), epoch: 'e', offset, timeMs: 1_000 }
}

/** A follower, the tenant `t1`, and a broker whose answers the test sets. */
function following() {
  const clock = new ManualClock()
  const lines: { msg: string; missed?: number }[] = []
  const write = (line: string) => void lines.push(JSON.parse(line) as { msg: string })
  const broker = {
    subscribe: vi.fn<Broker['subscribe']>(async () => {}),
    unsubscribe: vi.fn<Broker['unsubscribe']>(async () => {}),
    confirmedPosition: () => ({ epoch: 'e', offset: 10 }),
    history: vi.fn<Broker['history']>(async () => emptyPage),
  }
  const received: ReceivedCommand[] = []
  const tenant = {
    key: 'demo/acme',
    policy: policyOf(),
    sessions: new Set<Session>(),
  } as TenantRuntime<Session>
  const follower = new CommandFollower({
    broker: broker as Partial<Broker> as Broker,
    clock,
    log: new LimitedLog(createLog({ level: 'warn', name: 'test', write }), clock),
    apply: (_, commands) => received.push(...commands),
  })
  onTestFinished(() => follower.close())
  return {
    broker,
    clock,
    follower,
    lines,
    tenant,
    /** The commands that were applied since the last call. */
    applied: () => received.splice(0),
  }
}

const emptyPage: HistoryPage = { publications: [], top: { epoch: 'e', offset: 0 }, continuous: true }

function sessionOf(): Session & { close: ReturnType<typeof vi.fn> } {
  return { close: vi.fn(), adviseReconnect: () => {} } as Partial<Session> as Session & {
    close: ReturnType<typeof vi.fn>
  }
}

describe('follow()', () => {
  test('makes the first client wait until the channel is followed, and no later one', async () => {
    const { broker, follower, tenant } = following()
    const first = follower.follow(tenant)
    expect(follower.follow(tenant)).toBe(first)
    await first
    expect(follower.follow(tenant)).toBeUndefined()
    expect(broker.subscribe).toHaveBeenCalledExactlyOnceWith(ref)
  })

  test('lets clients in after a second without Redis, and later applies what they missed', async () => {
    const { applied, broker, follower, tenant } = following()
    let answer = (): void => {}
    broker.subscribe.mockReturnValueOnce(new Promise((resolve) => (answer = resolve)))
    await follower.follow(tenant)
    expect(follower.follow(tenant)).toBeUndefined()
    tenant.sessions.add(sessionOf())
    broker.history.mockResolvedValueOnce({ ...emptyPage, publications: [messageOf(11, disconnect('ann'))] })
    answer()
    await vi.waitFor(() => expect(applied()).toEqual([{ command: disconnect('ann'), openedBeforeMs: 6_000 }]))
  })

  test('tries again when Redis refuses', async () => {
    const { broker, follower, tenant } = following()
    broker.subscribe.mockRejectedValueOnce(new CommandError('BROKER_UNAVAILABLE', 'no Redis'))
    await follower.follow(tenant)
    await vi.waitFor(() => expect(broker.subscribe).toHaveBeenCalledTimes(2), { timeout: 10_000 })
  })
})

describe('a message', () => {
  test('is applied at once, and the next ones in one pass', async () => {
    const { applied, clock, follower, tenant } = following()
    await follower.follow(tenant)
    follower.onPublication(ref, messageOf(11, disconnect('ann')))
    expect(applied()).toEqual([{ command: disconnect('ann') }])
    follower.onPublication(ref, messageOf(12, disconnect('bob')))
    follower.onPublication(ref, messageOf(13, disconnect('eve')))
    expect(applied()).toEqual([])
    clock.advance(50)
    await vi.waitFor(() =>
      expect(applied()).toEqual([{ command: disconnect('bob') }, { command: disconnect('eve') }]),
    )
  })

  test('may hold commands of a newer gateway, which are skipped', async () => {
    const { applied, follower, lines, tenant } = following()
    await follower.follow(tenant)
    follower.onPublication(ref, messageOf(11, { kind: 'teleport', user: 'ann' }, disconnect('ann')))
    expect(applied()).toEqual([{ command: disconnect('ann') }])
    expect(lines).toMatchObject([{ msg: 'ignored a control command of an unknown kind' }])
  })

  test('for a tenant that is not followed is ignored', () => {
    const { applied, follower } = following()
    follower.onPublication(ref, messageOf(11, disconnect('ann')))
    expect(applied()).toEqual([])
  })
})

describe('a gap', () => {
  test('of trimmed messages makes all clients of the tenant reconnect, and the log counts the messages', async () => {
    const { broker, follower, lines, tenant } = following()
    const session = sessionOf()
    tenant.sessions.add(session)
    await follower.follow(tenant)
    await turn()
    broker.history.mockClear()
    follower.onPublication(ref, messageOf(11, disconnect('ann')))
    follower.onContinuityLost(ref, { epoch: 'e', offset: 511 })
    expect(session.close).toHaveBeenCalledWith({
      code: 3010,
      reason: 'insufficient state: commands of the backend were missed',
    })
    expect(lines).toMatchObject([{ missed: 500, sessions: 1, tenant: 'demo/acme' }])
    expect(lines[0]?.msg).toContain('control stream trimmed: 500 messages with commands of tenant demo/acme')
    expect(broker.history).not.toHaveBeenCalled()
  })

  test('after a loss of data applies what Redis has, and the log names the loss', async () => {
    const { applied, broker, follower, lines, tenant } = following()
    await follower.follow(tenant)
    const session = sessionOf()
    tenant.sessions.add(session)
    broker.history.mockRejectedValueOnce(new CommandError('BROKER_UNAVAILABLE', 'no Redis'))
    broker.history.mockResolvedValueOnce({ ...emptyPage, publications: [messageOf(1, disconnect('ann'))] })
    follower.onContinuityLost(ref, { epoch: 'another', offset: 1 })
    await vi.waitFor(
      () => expect(applied()).toEqual([{ command: disconnect('ann'), openedBeforeMs: 6_000 }]),
      { timeout: 10_000 },
    )
    expect(lines[0]?.msg).toContain('Redis lost its data')
    expect(session.close).not.toHaveBeenCalled()
  })
})

test('sweep() ends the subscription of a tenant without sessions for a minute', async () => {
  const { broker, clock, follower, tenant } = following()
  await follower.follow(tenant)
  const session = sessionOf()
  tenant.sessions.add(session)
  clock.advance(120_000)
  follower.sweep()
  tenant.sessions.delete(session)
  clock.advance(59_000)
  follower.sweep()
  expect(broker.unsubscribe).not.toHaveBeenCalled()
  clock.advance(1_000)
  follower.sweep()
  expect(broker.unsubscribe).toHaveBeenCalledExactlyOnceWith(ref)
  expect(follower.follow(tenant)).toBeDefined()
})
