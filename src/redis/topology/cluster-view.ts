// What one node of a Cluster says: who is there, who holds which slots, and where each is met. And what several such views come to.
import { z } from 'zod'
import type { Connection } from '../connection.js'
import { formatAddress, type Address } from '../url.js'

/** A master, as one node sees it. */
interface MasterView {
  readonly id: string
  /** Undefined: the node does not say how it is reached, or it holds nothing. */
  readonly address: Address | undefined
  /** Of the claim to its slots: in a dispute the higher one has them. */
  readonly configEpoch: number
  /** First and last slot. */
  readonly ranges: readonly (readonly [number, number])[]
  /** Known, dead or alive. */
  readonly replicas: number
  /** `suspected`: by this node alone. `failed`: by a majority of masters, as far as this node has heard. */
  readonly health: 'well' | 'suspected' | 'failed'
}

export interface ClusterView {
  readonly kind: 'view'
  /** Who says it. */
  readonly selfId: string
  /** Those that hold slots: they have a vote. By id. */
  readonly masters: ReadonlyMap<string, MasterView>
  /** Masters and replicas that can be asked. */
  readonly nodes: readonly Address[]
}

export interface Holder {
  readonly id: string
  readonly address: Address
  readonly configEpoch: number
}

/** By slot. */
export type Holders = ReadonlyMap<number, Holder>

/** The host is null, or empty, where a node does not know its own; metadata may follow. */
const NodeReply = z.tuple([z.string().nullable(), z.int(), z.string()]).rest(z.unknown())
const SlotsReply = z.array(z.tuple([z.int(), z.int()]).rest(NodeReply))

/** CLUSTER SLOTS alone knows the endpoint that an operator prefers; CLUSTER NODES alone knows epochs, failures and dead replicas. */
export async function askForView(
  connection: Connection,
  { asked, deadlineMs }: { asked: Address; deadlineMs: number },
): Promise<ClusterView> {
  const question = connection.client.pipeline().call('CLUSTER', 'SLOTS').call('CLUSTER', 'NODES')
  const [slots, nodes] = await connection.run(question, { deadlineMs })
  if (slots instanceof Error) throw slots
  if (nodes instanceof Error) throw nodes
  return readView({ slots: SlotsReply.parse(slots), nodes: z.string().parse(nodes) }, asked)
}

function readView(
  { nodes: text, slots }: { slots: z.infer<typeof SlotsReply>; nodes: string },
  asked: Address,
): ClusterView {
  const addresses = new Map<string, Address>()
  for (const [, , ...served] of slots) {
    for (const [host, port, id] of served) {
      // No host: the one that was asked. "?": a name is preferred, and this node has none.
      if (host !== '?') addresses.set(id, { host: host || asked.host, port })
    }
  }
  const lines = text.trimEnd().split('\n').map(readNode)
  const replicas = new Map<string, number>()
  for (const { masterId } of lines) replicas.set(masterId, (replicas.get(masterId) ?? 0) + 1)
  const masters = lines
    .filter(({ ranges }) => ranges.length > 0)
    .map((line): [string, MasterView] => {
      const { configEpoch, flags, id, ranges } = line
      const health = flags.includes('fail') ? 'failed' : flags.includes('fail?') ? 'suspected' : 'well'
      return [
        id,
        { id, address: addresses.get(id), configEpoch, ranges, replicas: replicas.get(id) ?? 0, health },
      ]
    })
  const selfId = lines.find(({ flags }) => flags.includes('myself'))?.id ?? ''
  return { kind: 'view', selfId, masters: new Map(masters), nodes: [...addresses.values()] }
}

/** A line of CLUSTER NODES: id, address, flags, master's id or "-", two times, config epoch, link, slots. What is on the move is in brackets. */
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
 * Whether those who speak can be believed together: of the masters that one of them names, `most` or `all` speak. A node that was cut off, or
 * a master of the past, has no such company; and where it has, somebody in it knows better.
 */
export function companyOf(views: readonly ClusterView[]): 'few' | 'most' | 'all' {
  const speakers = new Set(views.map(({ selfId }) => selfId))
  const companies = new Set(
    views.map(({ masters }) => {
      const speaking = [...masters.keys()].filter((id) => speakers.has(id)).length
      if (masters.size > 0 && speaking === masters.size) return 'all'
      return speaking > masters.size / 2 ? 'most' : 'few'
    }),
  )
  return companies.has('all') ? 'all' : companies.has('most') ? 'most' : 'few'
}

/**
 * Who holds each of `slots`: the claim with the highest config epoch, as the nodes themselves decide it. What was `known` is one claim more:
 * somebody who is silent now may have told it. Nobody holds what he himself, in that epoch or later, does not claim: who was away when a slot
 * left him may hear of his next epoch first.
 */
export function holdersOf(
  slots: Iterable<number>,
  views: readonly ClusterView[],
  known: Holders = new Map(),
): Holders {
  const holders = new Map<number, Holder>()
  const speakers = new Map(views.map((view) => [view.selfId, view.masters]))
  const denies = ({ configEpoch, id }: Pick<Holder, 'id' | 'configEpoch'>, slot: number) => {
    const masters = speakers.get(id)
    const own = masters?.get(id)
    return masters && own && own.configEpoch >= configEpoch && ownerIn(masters, slot) !== own
  }
  for (const slot of slots) {
    let best = known.get(slot)
    if (best && denies(best, slot)) best = undefined
    let own = false
    for (const { masters, selfId } of views) {
      const owner = ownerIn(masters, slot)
      if (!owner?.address || denies(owner, slot)) continue
      const { address, configEpoch, id } = owner
      // A node that moved house knows its address before others do.
      if (best && (configEpoch < best.configEpoch || (configEpoch === best.configEpoch && own))) continue
      best = { id, address, configEpoch }
      own = id === selfId
    }
    if (best) holders.set(slot, best)
  }
  return holders
}

/** Ids of those that have a vote: masters that hold slots, by the highest claims. */
export function votersIn(views: readonly ClusterView[]): Set<string> {
  const firsts = views.flatMap(({ masters }) =>
    [...masters.values()].flatMap(({ ranges }) => ranges.map(([from]) => from)),
  )
  return new Set([...holdersOf(new Set(firsts), views).values()].map(({ id }) => id))
}

/** Of each voter: itself and its replicas, dead or alive. */
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

/** What at least half of the shards have; where any has a replica, each is taken to have had one. 0: there are no shards. */
export function usualOf(dataNodes: readonly number[]): number {
  const sorted = dataNodes.toSorted((a, b) => a - b)
  const middle = sorted[Math.ceil(sorted.length / 2) - 1] ?? 0
  return Math.max(middle, Math.min(2, sorted.at(-1) ?? 0))
}

/**
 * Fresh views of more than half of the masters that were known see no trouble with `address`, and nobody holds it for failed: a replica that
 * was elected had the votes of more than half, each of a master that held its predecessor for failed, so one of those would be among these.
 */
export function standsBy(
  address: Address,
  { views, voters }: { views: readonly ClusterView[]; voters: ReadonlySet<string> },
): boolean {
  const name = formatAddress(address)
  const healthIn = ({ masters }: ClusterView) =>
    [...masters.values()].find((master) => master.address && formatAddress(master.address) === name)?.health
  const calm = views.filter((view) => voters.has(view.selfId) && healthIn(view) === 'well').length
  return calm > voters.size / 2 && views.every((view) => healthIn(view) !== 'failed')
}

function ownerIn(masters: ReadonlyMap<string, MasterView>, slot: number): MasterView | undefined {
  for (const master of masters.values())
    if (master.ranges.some(([from, to]) => from <= slot && slot <= to)) return master
  return undefined
}
