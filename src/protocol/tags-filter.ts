// Tags filters: a subscriber's condition on the tags of publications, as Centrifuge's clients send it. A
// filter is parsed once and evaluated for each publication.
import { z } from 'zod'
import type { Tags } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import { parseDecimal, subtractDecimals } from './decimal.js'
import { stringOrEmpty } from './zero-values.js'

// These three limits bound the cost of one publication for one subscriber.
/** Largest depth of the tree of nodes. */
export const filterDepthMax = 8
/** Largest number of nodes. */
const nodesMax = 64
/** Largest sum of bytes of all keys and values; each counts one byte more. */
const bytesMax = 4_096

type TagsPredicate = (tags: Tags | undefined) => boolean

export class TagsFilter {
  /** Filters with equal keys match the same publications. */
  readonly key: string
  /** Number of nodes: the cost of one evaluation. */
  readonly nodes: number
  readonly #predicate: TagsPredicate

  constructor(node: FilterNode, nodes: number) {
    this.key = JSON.stringify(node)
    this.nodes = nodes
    this.#predicate = predicateOf(node)
  }

  /** Evaluates the filter. `tags` is undefined when the publication has none. */
  matches(tags: Tags | undefined): boolean {
    return this.#predicate(tags)
  }
}

/**
 * Parses a filter as decoded from JSON or protobuf. Returns BAD_REQUEST, which says what is wrong, when it is
 * invalid.
 */
export function parseTagsFilter(value: unknown): TagsFilter | CommandError {
  try {
    const budget = { nodes: nodesMax, bytes: bytesMax }
    const node = parseNode(value, { depth: 1, budget })
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
  op: stringOrEmpty,
  key: stringOrEmpty,
  cmp: stringOrEmpty,
  val: stringOrEmpty,
  vals: z.array(z.string()).nullish(),
  nodes: z.array(z.unknown()).nullish(),
})

/** The rest of the limits while a filter is parsed. */
interface Budget {
  nodes: number
  bytes: number
}

/** Throws BAD_REQUEST when the node is invalid. */
function parseNode(value: unknown, { budget, depth }: { budget: Budget; depth: number }): FilterNode {
  if (depth > filterDepthMax) throw invalidFilter(`it is more than ${filterDepthMax} levels deep`)
  budget.nodes -= 1
  if (budget.nodes < 0) throw invalidFilter(`it has more than ${nodesMax} nodes`)
  const parsed = Node.safeParse(value)
  if (!parsed.success) throw invalidFilter('a node has a field of the wrong type')
  const { op, nodes, ...leaf } = parsed.data
  switch (op) {
    case '':
      return parseLeaf(leaf, budget)
    case 'and':
    case 'or':
    case 'not': {
      const children = (nodes ?? []).map((child) => parseNode(child, { budget, depth: depth + 1 }))
      if (children.length === 0 || (op === 'not' && children.length > 1))
        throw invalidFilter(`"${op}" has ${children.length} nodes`)
      return { op, nodes: children }
    }
    default:
      throw invalidFilter('"op" must be one of and, or, not')
  }
}

function parseLeaf(
  { cmp, key, val, vals }: Pick<z.infer<typeof Node>, 'cmp' | 'key' | 'val' | 'vals'>,
  budget: Budget,
): FilterNode {
  const comparison = comparisons.get(cmp)
  if (!comparison) throw invalidFilter(`"cmp" must be one of ${[...comparisons.keys()].join(', ')}`)
  if (key === '') throw invalidFilter(`"${cmp}" needs a "key"`)
  const values = [...(val === '' ? [] : [val]), ...(vals ?? [])]
  for (const counted of [key, ...values]) budget.bytes -= Buffer.byteLength(counted) + 1
  if (budget.bytes < 0) throw invalidFilter(`it has more than ${bytesMax} bytes of keys and values`)
  const takes = {
    none: values.length === 0,
    one: val !== '' && !vals?.length,
    some: val === '' && values.length > 0,
  }
  if (!takes[comparison.values])
    throw invalidFilter(`"${cmp}" takes ${operandDescriptions[comparison.values]}`)
  if (comparison.decimal && !parseDecimal(val)) throw invalidFilter(`"${cmp}" takes a decimal number`)
  return { key, cmp, values }
}

const operandDescriptions = { none: 'no value', one: 'one "val"', some: '"vals"' }

function invalidFilter(why: string): CommandError {
  return new CommandError('BAD_REQUEST', `This tags filter (tf) cannot be used: ${why}`)
}

/** One operator of the filter language. */
interface Comparison {
  /** How many values the operator takes. */
  readonly values: keyof typeof operandDescriptions
  /** The value must be a decimal number. */
  readonly decimal?: true
  /**
   * Returns the test for these values; an operator with one value gets an array of one. The test receives
   * undefined when the publication has no tag of that name.
   */
  readonly bind: (values: readonly string[]) => (tag: string | undefined) => boolean
}

const one = (holds: (tag: string, value: string) => boolean): Comparison => ({
  values: 'one',
  bind:
    ([value = '']) =>
    (tag) =>
      tag !== undefined && holds(tag, value),
})
const decimal = (holds: (difference: bigint) => boolean): Comparison => ({
  values: 'one',
  decimal: true,
  bind: ([value = '']) => {
    const right = parseDecimal(value)
    return (tag = '') => {
      const left = parseDecimal(tag)
      return left !== undefined && right !== undefined && holds(subtractDecimals(left, right))
    }
  },
})
const not = (comparison: Comparison): Comparison => ({
  ...comparison,
  bind: (values) => {
    const holds = comparison.bind(values)
    return (tag) => !holds(tag)
  },
})
const equal = one((tag, value) => tag === value)
const oneOf: Comparison = {
  values: 'some',
  bind: (values) => {
    const set = new Set(values)
    return (tag) => tag !== undefined && set.has(tag)
  },
}
const exists: Comparison = { values: 'none', bind: () => (tag) => tag !== undefined }

const comparisons: ReadonlyMap<string, Comparison> = new Map([
  ['eq', equal],
  ['neq', not(equal)],
  ['in', oneOf],
  ['nin', not(oneOf)],
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

function predicateOf(node: FilterNode): TagsPredicate {
  if ('cmp' in node) {
    const { cmp, key, values } = node
    const holds = comparisons.get(cmp)?.bind(values)
    if (!holds) throw new Error(`no comparison ${cmp}`)
    return (tags) => holds(tags?.get(key))
  }
  const verdicts = node.nodes.map(predicateOf)
  switch (node.op) {
    case 'and':
      return (tags) => verdicts.every((verdict) => verdict(tags))
    case 'or':
      return (tags) => verdicts.some((verdict) => verdict(tags))
    case 'not':
      return (tags) => !verdicts.some((verdict) => verdict(tags))
  }
}
