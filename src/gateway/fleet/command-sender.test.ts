import { describe, expect, test } from 'vitest'
import { ManualClock } from '../../auth/auth.testing.js'
import { CommandError } from '../../errors.js'
import { turn } from '../../session/session.testing.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { CommandSender } from './command-sender.js'
import type { UserCommand } from './control-messages.js'

const tenantOf = (tenantId: string) => ({ key: `demo/${tenantId}`, policy: { tenantId } }) as TenantRuntime
const disconnect = (user: string): UserCommand => ({ kind: 'disconnect', user, code: 3503, reason: '' })
const unsubscribe: UserCommand = { kind: 'unsubscribe', user: 'ann', channel: 'general' }
const subscribe: UserCommand = { kind: 'subscribe', user: 'ann', channel: 'general' }

interface Message {
  readonly tenantId: string
  readonly commands: UserCommand[]
  confirm(): void
  fail(error: Error): void
}

/** A sender whose messages are confirmed by the test. */
function heldSender() {
  const clock = new ManualClock()
  const messages: Message[] = []
  const sender = new CommandSender({
    clock,
    publish: ({ policy }, data) =>
      new Promise((confirm, fail) => {
        const { commands } = JSON.parse(data.toString()) as Pick<Message, 'commands'>
        messages.push({ tenantId: policy.tenantId, commands, confirm, fail })
      }),
  })
  return { clock, messages, sender }
}

describe('send()', () => {
  test('sends the commands that arrive during a message together, in order', async () => {
    const { messages, sender } = heldSender()
    const tenant = tenantOf('a')
    const sent = ['u1', 'u2', 'u3'].map((user) => sender.send(tenant, disconnect(user)))
    expect(messages.map(({ commands }) => commands)).toEqual([[disconnect('u1')]])
    messages[0]?.confirm()
    await sent[0]
    await turn()
    expect(messages[1]?.commands).toEqual([disconnect('u2'), disconnect('u3')])
    messages[1]?.confirm()
    await Promise.all(sent)
  })

  test('sends equal commands once, at the place of the last one', async () => {
    const { messages, sender } = heldSender()
    const tenant = tenantOf('a')
    const sent = [disconnect('first'), unsubscribe, subscribe, unsubscribe].map((command) =>
      sender.send(tenant, command),
    )
    messages[0]?.confirm()
    await turn()
    expect(messages[1]?.commands).toEqual([subscribe, unsubscribe])
    messages[1]?.confirm()
    await Promise.all(sent)
  })

  test('does not wait for the messages of another tenant', async () => {
    const { messages, sender } = heldSender()
    const first = sender.send(tenantOf('a'), disconnect('ann'))
    const other = sender.send(tenantOf('b'), disconnect('bob'))
    expect(messages.map(({ tenantId }) => tenantId)).toEqual(['a', 'b'])
    messages[1]?.confirm()
    await other
    messages[0]?.confirm()
    await first
  })

  test('rejects all commands of a message that failed, and sends the next ones', async () => {
    const { messages, sender } = heldSender()
    const tenant = tenantOf('a')
    const sent = [disconnect('u1'), disconnect('u2')].map((command) => sender.send(tenant, command))
    messages[0]?.fail(new CommandError('BROKER_UNAVAILABLE', 'no Redis'))
    await expect(sent[0]).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE' })
    messages[1]?.confirm()
    await sent[1]
  })

  test('sends no message above 64 KiB, apart from one large command', async () => {
    const { clock, messages, sender } = heldSender()
    const tenant = tenantOf('a')
    const large = (user: string): UserCommand => ({ ...subscribe, user, data: 'x'.repeat(30_000) })
    const sent = [sender.send(tenant, disconnect('first'))]
    for (const user of ['u1', 'u2', 'u3']) {
      clock.advance(1_000)
      sent.push(sender.send(tenant, large(user)))
    }
    for (let index = 0; index < 3; index += 1) {
      messages[index]?.confirm()
      await turn()
    }
    expect(messages.map(({ commands }) => commands.length)).toEqual([1, 2, 1])
    await Promise.all(sent)
  })
})

describe('the rate', () => {
  const burst = (sender: CommandSender, tenant: TenantRuntime, count: number) =>
    Promise.allSettled(Array.from({ length: count }, (_, n) => sender.send(tenant, disconnect(`u${n}`))))

  function openSender() {
    const clock = new ManualClock()
    return { clock, sender: new CommandSender({ clock, publish: async () => {} }) }
  }

  test('refuses commands above 100 at once and 50 a second, with the time to wait', async () => {
    const { clock, sender } = openSender()
    const tenant = tenantOf('a')
    const results = await burst(sender, tenant, 1_000)
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(100)
    await expect(sender.send(tenant, disconnect('more'))).rejects.toMatchObject({
      code: 'QUOTA_EXCEEDED',
      retryAfterMs: 20,
    })
    clock.advance(1_000)
    const later = await burst(sender, tenant, 1_000)
    expect(later.filter(({ status }) => status === 'fulfilled')).toHaveLength(50)
  })

  test('is counted for each tenant', async () => {
    const { sender } = openSender()
    await burst(sender, tenantOf('a'), 1_000)
    await expect(sender.send(tenantOf('b'), disconnect('bob'))).resolves.toBeUndefined()
  })

  test('counts a large command once per kilobyte, and never more than a full bucket', async () => {
    const { clock, sender } = openSender()
    const tenant = tenantOf('a')
    await sender.send(tenant, { ...subscribe, data: 'x'.repeat(60_000) })
    const left = await burst(sender, tenant, 100)
    expect(left.filter(({ status }) => status === 'fulfilled')).toHaveLength(41)
    clock.advance(60_000)
    await sender.send(tenant, { ...subscribe, data: 'x'.repeat(1_000_000) })
  })
})
