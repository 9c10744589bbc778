// Faults 16, 19, 20, 25 and 26, and 1 once more: gateway processes with clients at both doors.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { WebSocket } from 'ws'
import { startSentinelTrio, until, type TrioOptions } from '../support/redis-processes.js'
import { TestProxy } from '../support/proxy.js'
import { ChatPerson, GatewayProcess, sdkClient, Tenants, type DoorClient } from './doors.js'
import { pauseBarMs, type Fault } from './fault.js'
import { Load } from './load.js'
import type { Sent } from './oracle.js'
import { measured } from './measures.js'
import { World, worldChannels } from './world.js'

interface Doors {
  readonly world: World
  readonly gateways: readonly GatewayProcess[]
  readonly tenants: Tenants
  /** Those of the first gateway, and those of the second. */
  readonly clients: readonly (readonly DoorClient[])[]
  /** As a balancer does with a gateway that is not ready: new connections of its clients lead to the other. */
  leaveFirst(): void
}

const tenantNames = ['red', 'blue']

/** Two gateways; at each, of each tenant, one at the chat door who also publishes and one with the SDK. */
async function open(fault: string, options: { trio?: TrioOptions; args?: string[] } = {}): Promise<Doors> {
  const trio = await startSentinelTrio({ downAfterMs: 1_000, ...options.trio })
  const tenants = await Tenants.write()
  const start = () => GatewayProcess.start(trio.url, tenants.folder, options.args)
  const gateways = [await start(), await start()]
  const balancers = await Promise.all(gateways.map(({ port }) => new TestProxy(port).start()))
  const clients = await Promise.all(
    balancers.map(async ({ port: at }, index) => {
      const made = tenantNames.map(async (tenant) => {
        const common = { tenant, channels: worldChannels, at, tenants }
        return [
          await ChatPerson.open({ ...common, name: `chat-${tenant}-${index}` }),
          await sdkClient({ ...common, name: `sdk-${tenant}-${index}` }),
        ]
      })
      return (await Promise.all(made)).flat()
    }),
  )
  const all = clients.flat()
  const load = new Load({
    publishers: all.map(({ publisher }) => publisher),
    channels: worldChannels,
    perSecond: 12,
  })
  const world = new World({
    fault,
    redis: trio,
    load,
    logs: () => all.flatMap(({ logs }) => logs),
    tenantIdOf: (tenant) => tenants.idOf(tenant),
  })
  world.alsoClose(async () => {
    for (const client of all) client.close()
    await Promise.all(balancers.map((balancer) => balancer.stop()))
    await Promise.all(gateways.map((gateway) => gateway.kill()))
    await tenants.remove()
  })
  load.start()
  await world.someAcks(100)
  return {
    world,
    gateways,
    tenants,
    clients,
    leaveFirst() {
      const [first] = balancers
      const [, second] = gateways
      if (second) first?.retarget(second.port)
    },
  }
}

/** 30 kB. */
const bulk = 'x'.repeat(30_000)

function floodAt(gateway: GatewayProcess, tenants: Tenants): Promise<ChatPerson> {
  return ChatPerson.open({ name: 'flood', tenant: 'red', channels: [], at: gateway.port, tenants })
}

const gatewayPatience = { gapBarMs: 10_000 }

export const gatewayFaults: readonly Fault[] = [
  {
    number: 1,
    words: 'the master is killed: clients at both doors keep their sockets and miss nothing',
    run: async (fault) => {
      const { clients, world } = await open(fault)
      const old = await world.trio.master()
      world.strike()
      await old.kill()
      await world.trio.failedOver(old)
      await world.someAcks(100)
      await world.pause(pauseBarMs)
      expect(clients.flat().map(({ losses }) => losses)).toEqual(clients.flat().map(() => 0))
      await world.judge()
    },
  },
  {
    number: 16,
    words: 'a gateway is stopped until Redis cuts its subscriber off for what it does not read',
    run: async (fault) => {
      const config = ['client-output-buffer-limit pubsub 64kb 32kb 2']
      const { gateways, tenants, world } = await open(fault, { trio: { config } })
      const master = await world.trio.master()
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const flood = await floodAt(second, tenants)
      world.strike()
      first.signal('SIGSTOP')
      const endMs = performance.now() + 15_000
      const channel = { tenant: 'red', channel: 'one' }
      let count = 0
      const cutOff = async () =>
        (await master.cli('CLIENT', 'LIST')).split('name=parley-subscriber').length - 1 < gateways.length
      // The system's own buffers take megabytes before Redis keeps a byte.
      while (performance.now() < endMs || !(await cutOff())) {
        count += 1
        const text = `red|one|flood-${count}`
        const sent: Sent = { text, ...channel, sentMs: performance.now(), outcome: 'open' }
        world.load.sent.push(sent)
        await flood.ask({ type: 'room_message', room: 'one', content: { t: text, bulk } })
        sent.outcome = 'acked'
        sent.ackedMs = performance.now()
        if (performance.now() > endMs + 30_000) throw new Error('Redis never cut the subscriber off')
        if (count > 600) await sleep(100)
      }
      flood.close()
      first.signal('SIGCONT')
      world.healed()
      await world.someAcks(100)
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 19,
    words: 'a gateway is killed: its clients go on at the other, its presence ends within 30 s',
    run: async (fault) => {
      const { clients, gateways, leaveFirst, world } = await open(fault)
      const [first] = gateways
      const [, staying = []] = clients
      const witness = staying.find((client) => client instanceof ChatPerson)
      const members = async () => {
        const { members: found = [] } = (await witness?.ask({ type: 'presence', room: 'one' })) ?? {}
        return found.length
      }
      expect(await members()).toBe(4)
      world.strike()
      leaveFirst()
      await first?.kill()
      const killedMs = performance.now()
      await until('more than the true members, or them', async () => (await members()) >= 4)
      await world.someAcks(100)
      // Those of the dead gateway are there twice until their leases end.
      await until('the true number of members', async () => (await members()) === 4, { deadlineMs: 150_000 })
      await measured({ fault, what: 'presence true again', ms: performance.now() - killedMs, barMs: 30_000 })
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 19,
    words: 'the event loop of a gateway stands still for 6 s',
    run: async (fault) => {
      const { gateways, world } = await open(fault)
      world.strike()
      gateways[0]?.signal('SIGSTOP')
      await sleep(6_000)
      gateways[0]?.signal('SIGCONT')
      world.healed()
      await world.someAcks(100)
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 20,
    words: 'a gateway is drained by SIGTERM: its clients go on at the other',
    run: async (fault) => {
      const { clients, gateways, leaveFirst, world } = await open(fault, {
        args: ['--drain-window', '3'],
      })
      world.strike()
      leaveFirst()
      gateways[0]?.signal('SIGTERM')
      expect(await gateways[0]?.exited()).toBe(0)
      await world.someAcks(100)
      expect(clients[1]?.map(({ losses }) => losses)).toEqual([0, 0, 0, 0])
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 20,
    words: 'a gateway is killed in the middle of its drain',
    run: async (fault) => {
      const { gateways, leaveFirst, world } = await open(fault, { args: ['--drain-window', '20'] })
      world.strike()
      leaveFirst()
      gateways[0]?.signal('SIGTERM')
      await sleep(1_000)
      await gateways[0]?.kill()
      await world.someAcks(100)
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 25,
    words: '1,000 clients lose their gateway at once and come back with what they missed',
    run: async (fault) => {
      const { gateways, leaveFirst, tenants, world } = await open(fault)
      const token = await tenants.token('red', 'crowd')
      const [first, second] = gateways
      if (!first || !second) throw new Error('two gateways are needed')
      const crowd = Array.from({ length: 1_000 }, () => new Visitor())
      for (let start = 0; start < crowd.length; start += 50)
        await Promise.all(crowd.slice(start, start + 50).map((one) => one.join(first.port, token)))
      world.strike()
      leaveFirst()
      await first.kill()
      const startMs = performance.now()
      const came = await Promise.all(crowd.map((one) => one.joinUntilIn(second.port, token)))
      await measured({ fault, what: 'all back', ms: performance.now() - startMs })
      expect(
        came.filter((recovered) => !recovered),
        'came back with a gap',
      ).toEqual([])
      for (const one of crowd) one.leave()
      await world.someAcks(100)
      await world.judge(gatewayPatience)
    },
  },
  {
    number: 26,
    words: '200 clients read nothing: they are closed, and nobody else notices',
    run: async (fault) => {
      const { gateways, tenants, world } = await open(fault)
      const token = await tenants.token('red', 'slow')
      const [first] = gateways
      if (!first) throw new Error('a gateway is needed')
      const before = await first.memory()
      const slow = Array.from({ length: 200 }, () => new Visitor())
      for (let start = 0; start < slow.length; start += 50)
        await Promise.all(slow.slice(start, start + 50).map((one) => one.join(first.port, token)))
      for (const one of slow) one.pause()
      world.strike()
      const flood = await floodAt(first, tenants)
      const content = { t: bulk.slice(0, 20_000) }
      // More than the kernel's buffers and an outbox hold; in a room of its own, so that the oracle need not know it.
      for (let count = 0; count < 300; count += 1)
        await flood.ask({ type: 'room_message', room: 'flood', content })
      flood.close()
      await sleep(12_000)
      const after = await first.memory()
      const grownMiB = (after - before) / 2 ** 20
      await measured({ fault, what: 'memory grew by (MiB)', ms: grownMiB })
      // 200 full outboxes and what surrounds them.
      expect(grownMiB).toBeLessThan(300)
      const codes = await Promise.all(slow.map((one) => one.codeAfterReading()))
      // 1006: it was closed with 3008, and had no room left to hear it.
      expect(codes.filter((code) => code !== 3008 && code !== 1006)).toEqual([])
      await world.someAcks(100)
      await world.judge()
    },
  },
]

/** A bare client of the chat door in one room; many of them cost little. */
class Visitor {
  #socket: WebSocket | undefined
  #since: { epoch: string; offset: number } | undefined
  #closed: Promise<number> = Promise.resolve(0)

  /** Resolves with `recovered`. Rejects when the connection does not last. */
  async join(port: number, token: string): Promise<boolean> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/faults/red/ws?token=${token}`)
    this.#socket = socket
    this.#closed = new Promise((resolve) => socket.on('close', (code) => resolve(code)))
    return new Promise((resolve, reject) => {
      socket.on('error', reject)
      socket.on('close', () => reject(new Error('closed')))
      socket.on('open', () => {
        for (const room of ['one', 'flood'])
          socket.send(
            JSON.stringify({
              type: 'join_room',
              room,
              id: room,
              since: room === 'one' ? this.#since : undefined,
            }),
          )
      })
      socket.on('message', (data: Buffer) => {
        const event = JSON.parse(data.toString()) as {
          event: string
          room?: string
          epoch?: string
          offset?: number
          recovered?: boolean
        }
        if (event.event === 'error') return reject(new Error(data.toString()))
        if (event.event === 'ping') return socket.send('{"type":"pong"}')
        if (event.room !== 'one') return
        if (event.epoch !== undefined && event.offset !== undefined)
          this.#since = { epoch: event.epoch, offset: event.offset }
        if (event.event === 'joined') resolve(event.recovered === true)
      })
    })
  }

  async joinUntilIn(port: number, token: string): Promise<boolean> {
    const endMs = performance.now() + 60_000
    for (;;) {
      // As the documentation asks of clients: a random pause that grows.
      await sleep(Math.random() * 1_000)
      try {
        return await this.join(port, token)
      } catch (error) {
        this.#socket?.terminate()
        if (performance.now() > endMs) throw error
      }
    }
  }

  pause(): void {
    this.#socket?.pause()
  }

  /** What it learns when it reads again. */
  async codeAfterReading(): Promise<number> {
    this.#socket?.resume()
    return Promise.race([this.#closed, sleep(15_000).then(() => -1)])
  }

  leave(): void {
    this.#socket?.terminate()
  }
}
