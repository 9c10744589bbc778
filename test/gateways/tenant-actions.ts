// What clients and backends of a tenant can do: one action for each command of each endpoint and for each
// method of the server API. Each acts in tenant `a` with the names of tenant `b`, tries what it knows of `b`,
// and waits until its effect in `a` is there.
import { expect } from 'vitest'
import type { Json } from '../support/raw-client.js'
import { until } from '../support/redis-processes.js'
import type { Wire, WireClient } from '../support/wire-client.js'
import { names, type Side } from './two-tenants.js'

/** What an attacker could know of the other tenant. */
export interface Facts {
  /** The position of the room. */
  readonly position: { readonly epoch: string; readonly offset: number }
  /** The id of a session. */
  readonly session: string
}

export interface Parties {
  readonly a: Side
  readonly b: Side
  /** Facts about `b`. */
  readonly facts: Facts
}

type CommandAction = (client: WireClient, parties: Parties) => Promise<void>
type ApiAction = (parties: Parties) => Promise<void>

const { actor, device, key, live, other, room, witness } = names
let unique = 0
const fresh = (side: Side): string => `${side.data}-${(unique += 1)}`

const asActor = (side: Side, wire: Wire = 'centrifuge-json'): Promise<WireClient> =>
  side.connect(wire, { user: actor, at: side.gateways.length - 1 })

async function joined(side: Side, channel: string, wire?: Wire): Promise<WireClient> {
  const client = await asActor(side, wire)
  await side.join(client, channel)
  return client
}

/** By the name of the command on the wire. The client is connected as the actor. */
export const centrifugeActions: Readonly<Record<string, CommandAction>> = {
  async connect({ wire }, { a, facts }) {
    const client = await a.connect(wire, {
      user: actor,
      claims: { channels: [room, other] },
      subs: { [room]: { recover: true, ...facts.position, offset: 0 } },
    })
    const { connect } = client.received[0] as Json
    expect(Object.keys(connect.subs)).toEqual(expect.arrayContaining([room, other]))
  },
  async subscribe(client, { facts }) {
    for (const channel of [room, live, other]) {
      const { subscribe } = await client.ask({
        subscribe: {
          channel,
          recoverable: true,
          recover: true,
          ...facts.position,
          offset: 0,
          join_leave: true,
        },
      })
      expect(subscribe).toBeDefined()
    }
  },
  async unsubscribe(client, { a }) {
    await a.join(client, room)
    expect(await client.ask({ unsubscribe: { channel: room } })).toHaveProperty('unsubscribe')
  },
  async publish(client, { a }) {
    for (const channel of [room, live, 'lobby', `dm:${witness}`]) {
      const data = fresh(a)
      expect(await client.ask({ publish: { channel, data } })).toHaveProperty('publish')
      if (channel === room || channel === live) await a.hear(data)
    }
  },
  async presence(client, { a }) {
    const { presence } = await client.ask({ presence: { channel: room } })
    expect(Object.keys(presence.presence)).toHaveLength(a.witnesses.length)
  },
  async presence_stats(client, { a }) {
    const { presence_stats: stats } = await client.ask({ presence_stats: { channel: room } })
    expect(stats).toEqual({ num_clients: a.witnesses.length, num_users: 1 })
  },
  async history(client, { a, facts }) {
    const { history } = await client.ask({ history: { channel: room, limit: -1 } })
    expect(JSON.stringify(history.publications)).toContain(a.data)
    await client.ask({ history: { channel: room, limit: -1, since: facts.position } })
  },
  async ping(client) {
    client.send({ id: 7, ping: {} })
    expect((await client.closed()).code).toBe(3501)
  },
  async send(client) {
    client.send({ send: {} })
    expect((await client.closed()).code).toBe(3508)
  },
  async rpc(client) {
    expect(await client.ask({ rpc: { method: 'zq-procedure' } })).toMatchObject({ error: { code: 108 } })
  },
  async refresh(client, { a }) {
    expect(await client.ask({ refresh: { token: await a.token(actor) } })).toHaveProperty('refresh')
  },
  async sub_refresh(client, { a }) {
    const token = (): Promise<string> => a.token(actor, { channel: room })
    await client.ask({ subscribe: { channel: room, token: await token() } })
    expect(await client.ask({ sub_refresh: { channel: room, token: await token() } })).toHaveProperty(
      'sub_refresh',
    )
  },
}

/** By the `type` of the command. */
export const chatActions: Readonly<Record<string, CommandAction>> = {
  async chat(client, { a }) {
    const content = fresh(a)
    await client.ask({ type: 'chat', content })
    for (const each of a.witnesses) if (each.wire === 'chat') await each.hear(content)
    const inRoom = fresh(a)
    await client.ask({ type: 'chat', room, content: inRoom })
    await a.hear(inRoom)
  },
  async room_message(client, { a }) {
    const content = fresh(a)
    await client.ask({ type: 'room_message', room, content, key: `${key}-${content}` })
    await a.hear(content)
  },
  async direct_message(client, { a }) {
    const content = fresh(a)
    await client.ask({ type: 'direct_message', target_user: witness, content })
    for (const each of a.witnesses) if (each.wire === 'chat') await each.hear(content)
  },
  async join_room(client, { facts }) {
    await client.ask({ type: 'join_room', room, since: { ...facts.position, offset: 0 } })
    expect(client.received.filter(({ event }) => event === 'joined')).toHaveLength(1)
    await client.ask({ type: 'join_room', room: other })
  },
  async leave_room(client, { a }) {
    await a.join(client, room)
    expect(await client.ask({ type: 'leave_room', room })).toMatchObject({ event: 'ack' })
  },
  async history(client, { a, facts }) {
    await client.ask({ type: 'history', room, limit: 1000 })
    const { messages } = await client.next(({ event }) => event === 'history')
    expect(JSON.stringify(messages)).toContain(a.data)
    await client.ask({ type: 'history', room, since: facts.position })
  },
  async presence(client, { a }) {
    await client.ask({ type: 'presence', room })
    const { members } = await client.next(({ event }) => event === 'presence')
    expect(members).toHaveLength(a.witnesses.length)
  },
  async pong(client) {
    client.send({ type: 'pong' })
    await client.ask({ type: 'leave_room', room: 'nowhere' })
  },
}

/** By the name of the method. */
export const apiActions: Readonly<Record<string, ApiAction>> = {
  async publish({ a }) {
    const data = fresh(a)
    await a.api('publish', { channel: room, data, idempotency_key: `${key}-${data}`, tags: { zq: 'zq-tag' } })
    await a.hear(data)
  },
  async broadcast({ a }) {
    const data = fresh(a)
    await a.api('broadcast', { channels: [room, other, 'lobby', `dm:${witness}`], data })
    await a.hear(data)
  },
  async subscribe({ a, facts }) {
    const client = await asActor(a)
    const target = { user: actor, channel: other, recover_since: { ...facts.position, offset: 0 } }
    await a.api('subscribe', target)
    await client.hear(other)
    await a.api('subscribe', { ...target, session: facts.session })
  },
  async unsubscribe({ a, facts }) {
    const client = await joined(a, room)
    await a.api('unsubscribe', { user: actor, channel: room, session: facts.session })
    await a.api('unsubscribe', { user: actor, channel: room })
    await client.hear('unsubscribe')
  },
  async disconnect({ a, facts }) {
    const clients = [await asActor(a), await asActor(a, 'chat'), await asActor(a, 'centrifuge-protobuf')]
    const guest = await a.connect('chat')
    await a.api('disconnect', { user: witness, session: facts.session })
    await a.api('disconnect', { user: actor })
    await a.api('disconnect', { user: '', client: device })
    for (const client of [...clients, guest]) expect((await client.closed()).code).toBe(3503)
  },
  async refresh({ a, facts }) {
    const client = await asActor(a)
    await a.api('refresh', { user: witness, session: facts.session, expired: true })
    await a.api('refresh', { user: actor, expired: true })
    expect((await client.closed()).code).toBe(3005)
  },
  async presence({ a }) {
    const { presence } = await a.api('presence', { channel: room })
    expect(Object.keys(presence)).toHaveLength(a.witnesses.length)
  },
  async presence_stats({ a }) {
    const stats = await a.api('presence_stats', { channel: room })
    expect(stats).toEqual({ num_clients: a.witnesses.length, num_users: 1 })
  },
  async history({ a, facts }) {
    const { publications } = await a.api('history', { channel: room, limit: -1 })
    expect(JSON.stringify(publications)).toContain(a.data)
    await a.api('history', { channel: room, limit: -1, since: facts.position })
  },
  async history_remove({ a }) {
    await a.api('history_remove', { channel: other })
    expect((await a.api('history', { channel: other, limit: -1 })).publications).toEqual([])
  },
  async channels({ a }) {
    const { channels } = await a.ask('channels')
    expect(channels[room]).toEqual({ num_clients: a.witnesses.length })
  },
  async revoke({ a }) {
    const client = await asActor(a)
    await a.api('revoke', { user: actor })
    expect((await client.closed()).code).toBe(3500)
    await a.api('revoke', { jti: 'zq-token', expires_at: 4_000_000_000 })
    await a.api('unrevoke', { user: actor })
    await until('all gateways to admit the user again', async () => {
      const back = await asActor(a).catch(() => undefined)
      return back !== undefined
    })
  },
  async unrevoke({ a }) {
    await a.api('revoke', { user: 'zq-revoked' })
    expect(await a.api('unrevoke', { user: 'zq-revoked' })).toEqual({ removed: 1 })
  },
  async revocations({ a }) {
    expect(await a.api('revocations')).toHaveProperty('total')
  },
  async info({ a }) {
    const { nodes } = await a.ask('info')
    const clients = (nodes as Json[]).map(({ num_clients: count }) => Number(count))
    expect(clients.reduce((sum, count) => sum + count, 0)).toBe(a.witnesses.length)
  },
  async batch({ a }) {
    const data = fresh(a)
    const client = await asActor(a)
    await a.api('batch', {
      commands: [{ publish: { channel: room, data } }, { disconnect: { user: actor } }],
      parallel: true,
    })
    await a.hear(data)
    expect((await client.closed()).code).toBe(3503)
  },
}
