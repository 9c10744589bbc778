// The view that one node of a Cluster has of all nodes, their slots and their addresses, and the conclusions
// from several views.
import { z } from 'zod'
import type { RedisConnection } from '../connection.js'
import { formatAddress, type Address } from '../url.js'

/** A master as one node sees it. */
interface MasterView {
  readonly id: string
  /** Undefined when the node does not report an address, or when the master holds no slot. */
  readonly address: Address | undefined
  /** The epoch of the claim to the slots. Of two conflicting claims the one with the higher epoch wins. */
  readonly configEpoch: number
  /** The first and last slot of each range. */
  readonly ranges: readonly (readonly [number, number])[]
  /** The number of known replicas, up or down. */
  readonly replicas: number
  /**
   * `suspected`: this node considers the master down. `failed`: as far as this node knows, a majority of the
   * masters considers it down.
   */
  readonly health: 'healthy' | 'suspected' | 'failed'
}

/** The view of one node. */
export interface ClusterView {
  readonly kind: 'view'
  /** The id of the node whose view this is. */
  readonly selfId: string
  /** The masters that hold slots, by id. They vote in failovers. */
  readonly masters: ReadonlyMap<string, MasterView>
  /** The addresses of masters and replicas that can be polled. */
  readonly nodes: readonly Address[]
}

/** The master that holds a slot. */
export interface Holder {
  readonly id: string
  readonly address: Address
  readonly configEpoch: number
}

/** Holders by slot. */
export type Holders = ReadonlyMap<number, Holder>

/** The host is null or empty where a node does not know its own address. Metadata may follow. */
const NodeReply = z.tuple([z.string().nullable(), z.int(), z.string()]).rest(z.unknown())
const SlotsReply = z.array(z.tuple([z.int(), z.int()]).rest(NodeReply))

/**
 * Fetches the view of the node behind `connection`. Only CLUSTER SLOTS reports the endpoint that the operator
 * prefers, and only CLUSTER NODES reports epochs, failures and replicas that are down. Throws on an error
 * reply or a malformed one.
 */
export async function fetchView(
  connection: RedisConnection,
  { server, deadlineMs }: { server: Address; deadlineMs: number },
): Promise<ClusterView> {
  const pipeline = connection.client.pipeline().call('CLUSTER', 'SLOTS').call('CLUSTER', 'NODES')
  const [slots, nodes] = await connection.run(pipeline, { deadlineMs })
  if (slots instanceof Error) throw slots
  if (nodes instanceof Error) throw nodes
  return readView({ slots: SlotsReply.parse(slots), nodes: z.string().parse(nodes) }, server)
}

function readView(
  { nodes: text, slots }: { slots: z.infer<typeof SlotsReply>; nodes: string },
  server: Address,
): ClusterView {
  const addresses = new Map<string, Address>()
  for (const [, , ...nodesOfRange] of slots) {
    for (const [host, port, id] of nodesOfRange) {
      // An empty host means the host of `server`. "?" means that host names are preferred and the node has
      // none.
      if (host !== '?') addresses.set(id, { host: host || server.host, port })
    }
  }
  const lines = text.trimEnd().split('\n').map(readNode)
  const replicas = new Map<string, number>()
  for (const { masterId } of lines) replicas.set(masterId, (replicas.get(masterId) ?? 0) + 1)
  const masters = lines
    .filter(({ ranges }) => ranges.length > 0)
    .map((line): [string, MasterView] => {
      const { configEpoch, flags, id, ranges } = line
      const health = flags.includes('fail') ? 'failed' : flags.includes('fail?') ? 'suspected' : 'healthy'
      return [
        id,
        { id, address: addresses.get(id), configEpoch, ranges, replicas: replicas.get(id) ?? 0, health },
      ]
    })
  const selfId = lines.find(({ flags }) => flags.includes('myself'))?.id ?? ''
  return { kind: 'view', selfId, masters: new Map(masters), nodes: [...addresses.values()] }
}

/**
 * Parses a line of CLUSTER NODES: id, address, flags, master's id or "-", two times, config epoch, link
 * state, slots. Slots that are being moved are in brackets.
 */
function readNode(line: string) {
  const [id = '', , flags = '', masterId = '', , , epoch, , ...slots] = line.split(' ')
  const ranges = slots
    .filter((range) => /^\d/.test(range))
    .map((range): [number, number] => {
      const [from = 0, to = from] = range.split('-').map(Number)
      return [from, to]
    })
  return { id, flags: flags.split(','), masterId, configEpoch: Number(epoch), ranges }
}

/**
 * Returns whether the nodes of `views` form a quorum: a `majority` or `all` of the masters that one of them
 * lists are among these nodes. A stale master or a node that was cut off usually finds no such majority;
 * otherwise at least one node of that majority knows the newer state.
 */
export function quorumOf(views: readonly ClusterView[]): 'minority' | 'majority' | 'all' {
  const answering = new Set(views.map(({ selfId }) => selfId))
  const quorums = new Set(
    views.map(({ masters }) => {
      const count = [...masters.keys()].filter((id) => answering.has(id)).length
      if (masters.size > 0 && count === masters.size) return 'all'
      return count > masters.size / 2 ? 'majority' : 'minority'
    }),
  )
  return quorums.has('all') ? 'all' : quorums.has('majority') ? 'majority' : 'minority'
}

/**
 * Returns the holder of each of `slots`: the master whose claim has the highest config epoch, which is the
 * rule of the nodes themselves. The `known` holders count as additional claims, because a node that does not
 * answer now may have reported them. A master does not hold a slot that the master itself does not claim in
 * the same epoch or a later one: a node that was away while a slot moved may learn of the former master's
 * next epoch before it learns of the move.
 */
export function holdersOf(
  slots: Iterable<number>,
  views: readonly ClusterView[],
  known: Holders = new Map(),
): Holders {
  const holders = new Map<number, Holder>()
  const viewsById = new Map(views.map((view) => [view.selfId, view.masters]))
  const denies = ({ configEpoch, id }: Pick<Holder, 'id' | 'configEpoch'>, slot: number) => {
    const masters = viewsById.get(id)
    const own = masters?.get(id)
    return masters && own && own.configEpoch >= configEpoch && slotOwnerIn(masters, slot) !== own
  }
  for (const slot of slots) {
    let best = known.get(slot)
    if (best && denies(best, slot)) best = undefined
    let own = false
    for (const { masters, selfId } of views) {
      const owner = slotOwnerIn(masters, slot)
      if (!owner?.address || denies(owner, slot)) continue
      const { address, configEpoch, id } = owner
      // A node whose address changes knows the new address before others do.
      if (best && (configEpoch < best.configEpoch || (configEpoch === best.configEpoch && own))) continue
      best = { id, address, configEpoch }
      own = id === selfId
    }
    if (best) holders.set(slot, best)
  }
  return holders
}

/**
 * Returns the ids of the masters that vote in failovers: the masters that hold slots by the claims with the
 * highest epochs.
 */
export function votersIn(views: readonly ClusterView[]): Set<string> {
  const firsts = views.flatMap(({ masters }) =>
    [...masters.values()].flatMap(({ ranges }) => ranges.map(([from]) => from)),
  )
  return new Set([...holdersOf(new Set(firsts), views).values()].map(({ id }) => id))
}

/** Returns the number of data nodes of each voter: the master itself and its replicas, up or down. */
export function dataNodesIn(
  views: readonly ClusterView[],
  voters: ReadonlySet<string>,
): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { masters } of views)
    for (const { id, replicas } of masters.values())
      if (voters.has(id)) counts.set(id, Math.max(counts.get(id) ?? 0, 1 + replicas))
  return counts
}

/**
 * Returns the number of data nodes that at least half of the shards have. When any shard has a replica, the
 * result is at least 2: a shard without a replica may have lost it. Returns 0 when there are no shards.
 */
export function typicalDataNodes(dataNodes: readonly number[]): number {
  const sorted = dataNodes.toSorted((a, b) => a - b)
  const middle = sorted[Math.ceil(sorted.length / 2) - 1] ?? 0
  return Math.max(middle, Math.min(2, sorted.at(-1) ?? 0))
}

/**
 * Returns true when the fresh views of a majority of the known masters (`voters`) show the master at
 * `address` as healthy and no view shows it as failed. If a replica had been elected, a majority of the
 * masters would have voted for it, and each voter would consider the former master failed. At least one of
 * these voters would be among the views.
 */
export function confirmsMaster(
  address: Address,
  { views, voters }: { views: readonly ClusterView[]; voters: ReadonlySet<string> },
): boolean {
  const name = formatAddress(address)
  const healthIn = ({ masters }: ClusterView) =>
    [...masters.values()].find((master) => master.address && formatAddress(master.address) === name)?.health
  const confirming = views.filter((view) => voters.has(view.selfId) && healthIn(view) === 'healthy').length
  return confirming > voters.size / 2 && views.every((view) => healthIn(view) !== 'failed')
}

function slotOwnerIn(masters: ReadonlyMap<string, MasterView>, slot: number): MasterView | undefined {
  for (const master of masters.values())
    if (master.ranges.some(([from, to]) => from <= slot && slot <= to)) return master
  return undefined
}
