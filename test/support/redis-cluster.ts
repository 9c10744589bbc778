// A real Redis Cluster for tests, with failovers and resharding.
import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import { slotOf } from '../../src/redis/slots.js'
import {
  freePort,
  nodeDefaults,
  startProcess,
  startProxy,
  startRedis,
  until,
  type RedisOptions,
  type RedisProcess,
} from './redis-processes.js'

interface ClusterOptions extends RedisOptions {
  /** The number of masters, each with an equal range of slots. Default 3. */
  readonly masters?: number
  /** Default 1. */
  readonly replicasPerMaster?: number
  /** `cluster-node-timeout`. Default 2,000: a crashed master is replaced after 2 to 4 s. */
  readonly nodeTimeoutMs?: number
}

/** How far a slot is moved: announced on both nodes, half of its keys moved, or completely moved. */
type MoveUntil = 'announced' | 'halfway' | 'done'

/** One line of CLUSTER NODES. */
interface NodeView {
  readonly id: string
  readonly port: number
  readonly flags: readonly string[]
  readonly masterId: string
  readonly ranges: readonly (readonly [number, number])[]
}

const slotCount = 16_384

export class RedisCluster {
  /** First the initial masters, then the replicas in the order of their masters. */
  readonly nodes: readonly RedisProcess[]
  readonly #ids: ReadonlyMap<string, RedisProcess>

  constructor(ids: ReadonlyMap<string, RedisProcess>) {
    this.#ids = ids
    this.nodes = [...ids.values()]
  }

  get url(): string {
    return `redis+cluster://${this.nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`
  }

  addressOf(node: RedisProcess): string {
    return `127.0.0.1:${node.port}`
  }

  idOf(node: RedisProcess): string {
    return [...this.#ids].find(([, other]) => other === node)?.[0] ?? ''
  }

  /** Resolves with the masters that hold slots, once all running nodes agree, in the order of `nodes`. */
  async masters(): Promise<RedisProcess[]> {
    const view = await this.#agreed()
    return this.nodes.filter((node) =>
      view.some(({ id, ranges }) => ranges.length > 0 && id === this.idOf(node)),
    )
  }

  /** Resolves with the master of a slot, or of the slot of a key or tag. */
  async masterOf(slotOrKey: number | string): Promise<RedisProcess> {
    const [master] = await this.mastersOf([typeof slotOrKey === 'string' ? slotOf(slotOrKey) : slotOrKey])
    if (!master) throw new Error('the slot has no master')
    return master
  }

  /** Resolves with the master of each slot. */
  async mastersOf(slots: readonly number[]): Promise<RedisProcess[]> {
    const view = await this.#agreed()
    return slots.map((slot) => {
      const node = this.#ids.get(ownerIn(view, slot)?.id ?? '')
      if (!node) throw new Error(`no master holds slot ${slot}`)
      return node
    })
  }

  /** Resolves with the replicas that the running nodes know, including killed ones. */
  async replicasOf(master: RedisProcess): Promise<RedisProcess[]> {
    const view = await this.#agreed()
    return this.nodes.filter((node) =>
      view.some(({ id, masterId }) => masterId === this.idOf(master) && id === this.idOf(node)),
    )
  }

  /**
   * Resolves when every running node reports a healthy Cluster, all agree on the holders of the slots, and
   * the replicas follow their masters.
   */
  async settled(deadlineMs = 30_000): Promise<void> {
    await until(
      'a settled Cluster',
      async () => {
        const running = this.#runningNodes()
        const infos = await Promise.all(running.map((node) => node.cli('CLUSTER', 'INFO')))
        if (!infos.every((info) => info.includes('cluster_state:ok'))) return false
        const view = await this.#agreed()
        if (
          view.some(({ flags, id }) => !this.#isKilled(id) && flags.some((flag) => flag.startsWith('fail')))
        )
          return false
        const replication = await Promise.all(running.map((node) => node.cli('INFO', 'replication')))
        return replication.every(
          (text) => !text.includes('role:slave') || text.includes('master_link_status:up'),
        )
      },
      { deadlineMs, everyMs: 50 },
    )
  }

  /** Resolves with the new master when all running nodes agree that another node than `old` holds `slot`. */
  async failedOver(old: RedisProcess, slot: number, deadlineMs = 30_000): Promise<RedisProcess> {
    return until(
      'a failover',
      async () => {
        const now = await this.masterOf(slot)
        return now !== old && (await now.role()) === 'master' && now
      },
      { deadlineMs, everyMs: 50 },
    )
  }

  /** Kills the master of the slot. Resolves with that node and its successor. */
  async failOver(slot: number): Promise<{ old: RedisProcess; now: RedisProcess }> {
    const old = await this.masterOf(slot)
    await old.kill()
    return { old, now: await this.failedOver(old, slot) }
  }

  /** Moves slots like a reshard of a running Cluster. Another call continues an unfinished move. */
  async moveSlots(
    slots: Iterable<number>,
    to: RedisProcess,
    { stopAt = 'done' }: { stopAt?: MoveUntil } = {},
  ): Promise<void> {
    const owners = await this.#agreed()
    const masters = await this.masters()
    const clients = new Map(this.nodes.map((node) => [node, new Redis(node.ownPort, { lazyConnect: true })]))
    const call = async (node: RedisProcess, ...args: string[]) => clients.get(node)?.call('CLUSTER', ...args)
    try {
      for (const slot of slots) {
        const from = this.#ids.get(ownerIn(owners, slot)?.id ?? '')
        if (!from || from === to) continue
        const text = String(slot)
        await call(to, 'SETSLOT', text, 'IMPORTING', this.idOf(from))
        await call(from, 'SETSLOT', text, 'MIGRATING', this.idOf(to))
        if (stopAt === 'announced') continue
        const client = clients.get(from)
        const keys = (await client?.call('CLUSTER', 'GETKEYSINSLOT', text, '1000000')) as string[]
        const moving = stopAt === 'halfway' ? keys.slice(0, Math.ceil(keys.length / 2)) : keys
        if (moving.length > 0)
          await client?.call('MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', 'KEYS', ...moving)
        if (stopAt === 'halfway') continue
        const others = masters.filter((node) => node !== to && node !== from && node.alive)
        for (const node of [to, from, ...others]) await call(node, 'SETSLOT', text, 'NODE', this.idOf(to))
      }
    } finally {
      for (const client of clients.values()) client.disconnect()
    }
  }

  #runningNodes(): RedisProcess[] {
    return this.nodes.filter(({ alive }) => alive)
  }

  #isKilled(id: string): boolean {
    return this.#ids.get(id)?.alive !== true
  }

  /** Resolves with the view of the slots that all running nodes share. */
  async #agreed(): Promise<NodeView[]> {
    return until(
      'agreement in the Cluster',
      async () => {
        const views = await Promise.all(
          this.#runningNodes().map(async (node) => parseNodes(await node.cli('CLUSTER', 'NODES'))),
        )
        const [first] = views
        return first?.length === this.nodes.length && new Set(views.map(summaryOf)).size === 1 && first
      },
      { deadlineMs: 20_000, everyMs: 50 },
    )
  }
}

/**
 * Starts a Cluster. The node tables are written before the start, so that every node knows the others and no
 * CLUSTER MEET is needed. Resolves when the Cluster is healthy, after about two seconds: no master of a
 * Cluster serves earlier.
 */
export async function startRedisCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  const {
    cliArgs = [],
    config = [],
    masters = 3,
    nodeTimeoutMs = 2_000,
    proxied = false,
    replicasPerMaster = 1,
  } = options
  const members = await Promise.all(
    Array.from({ length: masters * (1 + replicasPerMaster) }, async (_, index) => {
      const port = await freePort()
      const busPort = await freePort()
      const proxy = proxied ? await startProxy(port) : undefined
      return {
        index,
        port,
        busPort,
        proxy,
        id: createHash('sha1').update(`node ${index} ${port}`).digest('hex'),
      }
    }),
  )
  const table = (self: number) =>
    [
      ...members.map(({ busPort, id, index, port, proxy }) => {
        const master = index % masters
        const isMaster = index < masters
        const role = isMaster ? 'master' : 'slave'
        const flags = index === self ? `myself,${role}` : role
        const slots = isMaster ? ` ${firstSlot(index, masters)}-${firstSlot(index + 1, masters) - 1}` : ''
        const ofMaster = isMaster ? '-' : members[master]?.id
        return `${id} 127.0.0.1:${proxy?.port ?? port}@${busPort} ${flags} ${ofMaster} 0 0 ${master + 1} connected${slots}`
      }),
      `vars currentEpoch ${masters} lastVoteEpoch 0`,
      '',
    ].join('\n')
  const nodes = await Promise.all(
    members.map(async ({ busPort, id, index, port, proxy }) => {
      const node = await startProcess(`cluster${index}`, {
        port,
        proxy,
        cliArgs,
        config: [
          ...nodeDefaults,
          'cluster-enabled yes',
          'cluster-config-file nodes.conf',
          `cluster-port ${busPort}`,
          `cluster-node-timeout ${nodeTimeoutMs}`,
          'cluster-announce-ip 127.0.0.1',
          `cluster-announce-port ${proxy?.port ?? port}`,
          ...config,
        ],
        files: { 'nodes.conf': table(index) },
      })
      return [id, node] as const
    }),
  )
  const cluster = new RedisCluster(new Map(nodes))
  await cluster.settled()
  return cluster
}

/** For `describe.each`: suites that run on a standalone Redis and on a Cluster. */
export const redisKinds = ['one Redis', 'a Cluster'] as const

/**
 * Starts a Redis of this kind. Resolves with its URL and the process that holds the keys with `tag`. The
 * masters of a Cluster have no replicas.
 */
export async function startRedisOf(
  kind: (typeof redisKinds)[number],
  tag: string,
): Promise<{ url: string; redis: RedisProcess }> {
  if (kind === 'one Redis') {
    const redis = await startRedis()
    return { redis, url: `redis://127.0.0.1:${redis.port}` }
  }
  const cluster = await startRedisCluster({ replicasPerMaster: 0 })
  return { redis: await cluster.masterOf(tag), url: cluster.url }
}

function firstSlot(master: number, masters: number): number {
  return Math.round((master * slotCount) / masters)
}

function ownerIn(view: readonly NodeView[], slot: number): NodeView | undefined {
  return view.find(({ ranges }) => ranges.some(([from, to]) => from <= slot && slot <= to))
}

function parseNodes(text: string): NodeView[] {
  return text.split('\n').map((line) => {
    const [id = '', address = '', flags = '', masterId = '', , , , , ...slots] = line.split(' ')
    const port = Number(/:(\d+)@/.exec(address)?.[1])
    // Slots that are being moved are in brackets.
    const ranges = slots
      .filter((range) => !range.startsWith('['))
      .map((range) => {
        const [from, to = from] = range.split('-').map(Number)
        return [from ?? 0, to ?? 0] as const
      })
    return {
      id,
      port,
      flags: flags.split(',').filter((flag) => flag !== 'myself'),
      masterId,
      ranges,
    }
  })
}

/** Returns which node replicates which, and which slots each holds, as comparable text. */
function summaryOf(view: readonly NodeView[]): string {
  return JSON.stringify(
    view.map(({ id, masterId, ranges }) => `${id} ${masterId} ${ranges.join(' ')}`).toSorted(),
  )
}
