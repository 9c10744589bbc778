// Which publications a subscriber wants, by their tags: the filters of Centrifuge's clients, read once and asked for each publication. Pure.
import { z } from 'zod'
import type { Tags } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import { decimalOf, difference } from './decimal.js'
import { text } from './zero-values.js'

/** Nodes within one another, and all together: what one publication may cost for one subscriber. */
export const filterDepthMax = 8
const nodesMax = 64
/** Of names and values, each counting one more. */
const bytesMax = 4_096

type Verdict = (tags: Tags | undefined) => boolean

export class TagsFilter {
  /** Filters with one key let the same pass. */
  readonly key: string
  /** What it costs to ask it. */
  readonly nodes: number
  readonly #verdict: Verdict

  constructor(node: FilterNode, nodes: number) {
    this.key = JSON.stringify(node)
    this.nodes = nodes
    this.#verdict = verdictOf(node)
  }

  /** Undefined: the publication has no tags. */
  matches(tags: Tags | undefined): boolean {
    return this.#verdict(tags)
  }
}

/** As JSON or protobuf has it. A refusal says what is wrong with it. */
export function readTagsFilter(value: unknown): TagsFilter | CommandError {
  try {
    const budget = { nodes: nodesMax, bytes: bytesMax }
    const node = readNode(value, { depth: 1, budget })
    return new TagsFilter(node, nodesMax - budget.nodes)
  } catch (error) {
    if (error instanceof CommandError) return error
    throw error
  }
}

type FilterNode =
  | { readonly op: 'and' | 'or' | 'not'; readonly nodes: readonly FilterNode[] }
  | { readonly key: string; readonly cmp: string; readonly values: readonly string[] }

const Node = z.object({
  op: text,
  key: text,
  cmp: text,
  val: text,
  vals: z.array(z.string()).nullish(),
  nodes: z.array(z.unknown()).nullish(),
})

/** What a filter may still have. */
interface Budget {
  nodes: number
  bytes: number
}

/** Throws BAD_REQUEST. */
function readNode(value: unknown, { budget, depth }: { budget: Budget; depth: number }): FilterNode {
  if (depth > filterDepthMax) throw malformed(`it is more than ${filterDepthMax} levels deep`)
  budget.nodes -= 1
  if (budget.nodes < 0) throw malformed(`it has more than ${nodesMax} nodes`)
  const parsed = Node.safeParse(value)
  if (!parsed.success) throw malformed('a node is no node')
  const { op, nodes, ...leaf } = parsed.data
  switch (op) {
    case '':
      return readLeaf(leaf, budget)
    case 'and':
    case 'or':
    case 'not': {
      const children = (nodes ?? []).map((child) => readNode(child, { budget, depth: depth + 1 }))
      if (children.length === 0 || (op === 'not' && children.length > 1))
        throw malformed(`"${op}" has ${children.length} nodes`)
      return { op, nodes: children }
    }
    default:
      throw malformed('"op" is none of and, or, not')
  }
}

function readLeaf(
  { cmp, key, val, vals }: Pick<z.infer<typeof Node>, 'cmp' | 'key' | 'val' | 'vals'>,
  budget: Budget,
): FilterNode {
  const comparison = comparisons.get(cmp)
  if (!comparison) throw malformed(`"cmp" is none of ${[...comparisons.keys()].join(', ')}`)
  if (key === '') throw malformed(`"${cmp}" is told no key`)
  const values = [...(val === '' ? [] : [val]), ...(vals ?? [])]
  for (const counted of [key, ...values]) budget.bytes -= Buffer.byteLength(counted) + 1
  if (budget.bytes < 0) throw malformed(`it has more than ${bytesMax} bytes of names and values`)
  const takes = {
    none: values.length === 0,
    one: val !== '' && !vals?.length,
    some: val === '' && values.length > 0,
  }
  if (!takes[comparison.values]) throw malformed(`"${cmp}" takes ${wordsFor[comparison.values]}`)
  if (comparison.decimal && !decimalOf(val)) throw malformed(`"${cmp}" takes a decimal number`)
  return { key, cmp, values }
}

const wordsFor = { none: 'no value', one: 'one "val"', some: '"vals"' }

function malformed(why: string): CommandError {
  return new CommandError('BAD_REQUEST', `This tags filter (tf) cannot be used: ${why}`)
}

/** `one` is given as an array of one. */
interface Comparison {
  readonly values: keyof typeof wordsFor
  readonly decimal?: true
  /** `tag`: undefined where the publication has none of that name. */
  readonly with: (values: readonly string[]) => (tag: string | undefined) => boolean
}

const one = (holds: (tag: string, value: string) => boolean): Comparison => ({
  values: 'one',
  with:
    ([value = '']) =>
    (tag) =>
      tag !== undefined && holds(tag, value),
})
const decimal = (holds: (difference: bigint) => boolean): Comparison => ({
  values: 'one',
  decimal: true,
  with: ([value = '']) => {
    const right = decimalOf(value)
    return (tag = '') => {
      const left = decimalOf(tag)
      return left !== undefined && right !== undefined && holds(difference(left, right))
    }
  },
})
const not = (comparison: Comparison): Comparison => ({
  ...comparison,
  with: (values) => {
    const holds = comparison.with(values)
    return (tag) => !holds(tag)
  },
})
const equal = one((tag, value) => tag === value)
const among: Comparison = {
  values: 'some',
  with: (values) => {
    const set = new Set(values)
    return (tag) => tag !== undefined && set.has(tag)
  },
}
const exists: Comparison = { values: 'none', with: () => (tag) => tag !== undefined }

const comparisons: ReadonlyMap<string, Comparison> = new Map([
  ['eq', equal],
  ['neq', not(equal)],
  ['in', among],
  ['nin', not(among)],
  ['ex', exists],
  ['nex', not(exists)],
  ['sw', one((tag, value) => tag.startsWith(value))],
  ['ew', one((tag, value) => tag.endsWith(value))],
  ['ct', one((tag, value) => tag.includes(value))],
  ['lt', decimal((by) => by < 0n)],
  ['lte', decimal((by) => by <= 0n)],
  ['gt', decimal((by) => by > 0n)],
  ['gte', decimal((by) => by >= 0n)],
])

function verdictOf(node: FilterNode): Verdict {
  if ('cmp' in node) {
    const { cmp, key, values } = node
    const holds = comparisons.get(cmp)?.with(values)
    if (!holds) throw new Error(`no comparison ${cmp}`)
    return (tags) => holds(tags?.get(key))
  }
  const verdicts = node.nodes.map(verdictOf)
  switch (node.op) {
    case 'and':
      return (tags) => verdicts.every((verdict) => verdict(tags))
    case 'or':
      return (tags) => verdicts.some((verdict) => verdict(tags))
    case 'not':
      return (tags) => !verdicts.some((verdict) => verdict(tags))
  }
}
