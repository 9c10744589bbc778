import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CommandError } from '../errors.js'
import { filterDepthMax, parseTagsFilter, type TagsFilter } from './tags-filter.js'

interface Node {
  readonly op?: string
  readonly key?: string
  readonly cmp?: string
  readonly val?: string
  readonly vals?: readonly string[]
  readonly nodes?: readonly Node[]
}

function filterOf(value: unknown): TagsFilter {
  const filter = parseTagsFilter(value)
  if (filter instanceof CommandError) throw filter
  return filter
}

const matches = (node: Node, tags?: Readonly<Record<string, string>>): boolean =>
  filterOf(node).matches(tags && new Map(Object.entries(tags)))

describe('a comparison', () => {
  const price = (cmp: string, val: string): Node => ({ key: 'price', cmp, val })

  test.each<[Node, string | undefined, boolean]>([
    [price('eq', 'a'), 'a', true],
    [price('eq', 'a'), 'A', false],
    [price('eq', 'a'), undefined, false],
    [price('neq', 'a'), 'b', true],
    [price('neq', 'a'), 'a', false],
    [price('neq', 'a'), undefined, true],
    [{ key: 'price', cmp: 'in', vals: ['a', 'b'] }, 'b', true],
    [{ key: 'price', cmp: 'in', vals: ['a', 'b'] }, 'c', false],
    [{ key: 'price', cmp: 'in', vals: [''] }, '', true],
    [{ key: 'price', cmp: 'in', vals: [''] }, undefined, false],
    [{ key: 'price', cmp: 'nin', vals: ['a', 'b'] }, 'b', false],
    [{ key: 'price', cmp: 'nin', vals: ['a', 'b'] }, undefined, true],
    [{ key: 'price', cmp: 'ex' }, '', true],
    [{ key: 'price', cmp: 'ex' }, undefined, false],
    [{ key: 'price', cmp: 'nex' }, '', false],
    [{ key: 'price', cmp: 'nex' }, undefined, true],
    [price('sw', 'EUR'), 'EURUSD', true],
    [price('sw', 'USD'), 'EURUSD', false],
    [price('sw', 'USD'), undefined, false],
    [price('ew', 'USD'), 'EURUSD', true],
    [price('ew', 'EUR'), 'EURUSD', false],
    [price('ct', 'RU'), 'EURUSD', true],
    [price('ct', 'ru'), 'EURUSD', false],
    [price('gt', '9'), '10', true],
    [price('gt', '9.99'), '9.990', false],
    [price('gte', '9.99'), '+9.990', true],
    [price('lt', '-1'), '-1.5', true],
    [price('lte', '0'), '-0.0', true],
    [price('lt', '9007199254740993'), '9007199254740992', true],
    [price('gt', '0.1'), '0.1000000000000000000000000000000001', true],
    [price('gt', '0'), '1e3', false],
    [price('gt', '0'), '', false],
    [price('gt', '0'), '1'.repeat(41), false],
    [price('lt', '0'), undefined, false],
    [price('gte', '0'), ' 1', false],
  ])('%j of %j: %j', (node, tag, fits) => {
    expect(matches(node, tag === undefined ? undefined : { price: tag })).toBe(fits)
    // Other tags do not matter.
    expect(matches(node, { other: 'a', ...(tag !== undefined && { price: tag }) })).toBe(fits)
  })
})

test('properties that every JavaScript object has are not tags', () => {
  expect(matches({ key: 'constructor', cmp: 'ex' }, { a: 'b' })).toBe(false)
})

describe('an invalid filter is refused:', () => {
  const leaf = { key: 'a', cmp: 'eq', val: 'b' }
  const nested = (levels: number): Node =>
    Array.from({ length: levels - 1 }).reduce<Node>((node) => ({ op: 'not', nodes: [node] }), leaf)

  test.each<[string, unknown, string]>([
    ['a string', 'a', 'wrong type'],
    ['an array', [], 'wrong type'],
    ['an empty node', {}, '"cmp" must be one of'],
    ['an unknown operation', { op: 'xor', nodes: [leaf] }, '"op" must be one of'],
    ['an unknown comparison', { ...leaf, cmp: 'like' }, '"cmp" must be one of'],
    [
      'a comparison named like a property of every object',
      { ...leaf, cmp: 'constructor' },
      '"cmp" must be one of',
    ],
    ['no key', { cmp: 'ex' }, 'needs a "key"'],
    ['no value', { key: 'a', cmp: 'eq' }, 'one "val"'],
    ['several values where one is needed', { key: 'a', cmp: 'eq', vals: ['b'] }, 'one "val"'],
    ['several values besides one', { ...leaf, vals: ['b'] }, 'one "val"'],
    ['no values', { key: 'a', cmp: 'in', vals: [] }, '"vals"'],
    ['one value where several are needed', { ...leaf, cmp: 'nin' }, '"vals"'],
    ['a value where none is allowed', { ...leaf, cmp: 'ex' }, 'no value'],
    ['a value that is not a string', { ...leaf, val: 1 }, 'wrong type'],
    ['a word where a number is needed', { ...leaf, cmp: 'gt' }, 'decimal'],
    ['and without nodes', { op: 'and', nodes: [] }, '"and" has 0'],
    ['not without nodes', { op: 'not' }, '"not" has 0'],
    ['not with two nodes', { op: 'not', nodes: [leaf, leaf] }, '"not" has 2'],
    ['an error in a nested node', { op: 'or', nodes: [leaf, { op: 'and', nodes: [{ key: 'a' }] }] }, '"cmp"'],
    ['too deep', nested(filterDepthMax + 1), 'levels deep'],
    ['deeper than the call stack', nested(10_000), 'levels deep'],
    ['too many nodes', { op: 'or', nodes: Array.from({ length: 64 }, () => leaf) }, '64 nodes'],
    ['too long', { ...leaf, val: 'é'.repeat(2048) }, '4096 bytes'],
    ['too many empty values', { key: 'a', cmp: 'in', vals: Array.from({ length: 4096 }, () => '') }, 'bytes'],
  ])('%s', (_what, value, words) => {
    const refusal = parseTagsFilter(value)
    expect(refusal).toBeInstanceOf(CommandError)
    expect(refusal).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining(words) })
  })

  test('a filter just within the bounds is accepted', () => {
    expect(matches(nested(filterDepthMax), { a: 'b' })).toBe(filterDepthMax % 2 === 1)
    expect(matches({ op: 'or', nodes: Array.from({ length: 63 }, () => leaf) }, { a: 'b' })).toBe(true)
    expect(matches({ ...leaf, val: 'b'.repeat(4093) })).toBe(false)
  })

  test('null and zero values count as absent', () => {
    const zeros = { op: '', vals: [], nodes: null }
    expect(filterOf({ ...leaf, ...zeros }).key).toBe(filterOf(leaf).key)
    expect(filterOf({ op: 'and', nodes: [leaf], key: '', cmp: null }).key).toBe(
      filterOf({ nodes: [leaf], op: 'and' }).key,
    )
  })
})

describe('for any filter and tags', () => {
  const word = fc.constantFrom('a', 'b', 'ab', 'ba', '1', '1.0', '-2', '10')
  const number = fc.constantFrom('1', '1.0', '-2', '10', '0.5')
  const key = fc.constantFrom('x', 'y')
  const leaf = fc.oneof(
    fc.record({ key, cmp: fc.constantFrom('eq', 'neq', 'sw', 'ew', 'ct'), val: word }),
    fc.record({ key, cmp: fc.constantFrom('lt', 'lte', 'gt', 'gte'), val: number }),
    fc.record({
      key,
      cmp: fc.constantFrom('in', 'nin'),
      vals: fc.array(word, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({ key, cmp: fc.constantFrom('ex', 'nex') }),
  )
  const { node } = fc.letrec<{ node: Node; leaf: Node; inner: Node }>((tie) => ({
    leaf,
    inner: fc.oneof(
      fc.record({
        op: fc.constantFrom('and', 'or'),
        nodes: fc.array(tie('node'), { minLength: 1, maxLength: 3 }),
      }),
      fc.record({ op: fc.constant('not'), nodes: tie('node').map((child) => [child]) }),
    ),
    node: fc.oneof({ maxDepth: 3, depthIdentifier: 'node' }, tie('leaf'), tie('inner')),
  }))
  const tags = fc.dictionary(key, word)

  /** A direct implementation of the protocol's description, with JavaScript numbers. */
  function naive(one: Node, of: Readonly<Record<string, string>>): boolean {
    const { cmp = '', key: name = '', nodes = [], op = '', val = '', vals = [] } = one
    if (op === 'and') return nodes.every((child) => naive(child, of))
    if (op === 'or') return nodes.some((child) => naive(child, of))
    if (op === 'not') return !naive(nodes[0] ?? {}, of)
    const tag = of[name]
    if (tag === undefined) return ['neq', 'nin', 'nex'].includes(cmp)
    if (cmp === 'eq' || cmp === 'neq') return (tag === val) === (cmp === 'eq')
    if (cmp === 'in' || cmp === 'nin') return vals.includes(tag) === (cmp === 'in')
    if (cmp === 'ex' || cmp === 'nex') return cmp === 'ex'
    if (cmp === 'sw') return tag.indexOf(val) === 0
    if (cmp === 'ew') return tag.slice(-val.length) === val
    if (cmp === 'ct') return tag.split(val).length > 1
    const [left, right] = [Number(tag), Number(val)]
    if (Number.isNaN(left)) return false
    return cmp.startsWith('l')
      ? left < right || (cmp === 'lte' && left === right)
      : left > right || (cmp === 'gte' && left === right)
  }

  test('it agrees with a naive implementation', () => {
    let fitting = 0
    fc.assert(
      fc.property(node, tags, (filter, of) => {
        const expected = naive(filter, of)
        if (expected) fitting += 1
        expect(matches(filter, of)).toBe(expected)
      }),
      { numRuns: 2000 },
    )
    // A test in which nearly all filters match, or nearly none, would show little.
    expect(fitting).toBeGreaterThan(200)
    expect(fitting).toBeLessThan(1800)
  })

  test('filters with equal keys give equal results', () => {
    let equal = 0
    fc.assert(
      fc.property(leaf, leaf, tags, (one, other, of) => {
        if (filterOf(one).key !== filterOf(other).key) return
        equal += 1
        expect(matches(one, of)).toBe(matches(other, of))
      }),
      { numRuns: 2000 },
    )
    expect(equal).toBeGreaterThan(0)
  })
})
