// The chart's README: a frame, and one line for each value from the comments of values.yaml.
import { isMap, isNode, isScalar, parseDocument } from 'yaml'
import { table } from './docs/table.mjs'

/**
 * A value that values.yaml documents: with everything below it, when it is an object.
 * @typedef {{ path: string, text: string, value: unknown }} ChartValue
 */

/**
 * Every value has a comment `# -- …` of its own or of an object around it.
 * @param {string} source values.yaml
 * @returns {ChartValue[]}
 */
export function chartValues(source) {
  const document = parseDocument(source)
  if (!isMap(document.contents)) throw new Error('values.yaml holds no values')
  return valuesOf(document.contents, [], document.commentBefore ?? '')
}

/**
 * @param {import('yaml').YAMLMap} map
 * @param {string[]} above
 * @param {string} [firstComment] the parser gives a map what stands before its first key
 * @returns {ChartValue[]}
 */
function valuesOf(map, above, firstComment = map.commentBefore ?? '') {
  return map.items.flatMap(({ key, value }, index) => {
    if (!isScalar(key)) throw new Error(`A key under ${above.join('.')} is no word`)
    const path = [...above, String(key.value)]
    const text = textOf(`${index === 0 ? firstComment : ''}\n${key.commentBefore ?? ''}`)
    if (text !== '') return [{ path: path.join('.'), text, value: toJson(value) }]
    if (isMap(value) && value.items.length > 0) return valuesOf(value, path)
    throw new Error(`${path.join('.')} has no comment "# -- …"`)
  })
}

/** @param {string} comment */
function textOf(comment) {
  const [, text = ''] = comment.split(/^ -- /m)
  return text.replaceAll(/\s*\n\s*/g, ' ').trim()
}

/** @param {unknown} node */
function toJson(node) {
  return isNode(node) ? node.toJSON() : node
}

/** @param {string} values */
export function chartReadme(values) {
  const rows = chartValues(values).map(({ path, text, value }) => [`\`${path}\``, shown(value), text])
  return [
    '<!-- Written by `npm run chart` from values.yaml. Do not edit: a test compares. -->',
    '',
    '# parley',
    '',
    'Gateways, the controller and, unless you bring your own, three Redis with Sentinels. For Helm 3 and 4, and Kubernetes 1.32 or newer.',
    '',
    '```sh',
    'helm install parley charts/parley --namespace parley --create-namespace',
    '```',
    '',
    'By task: [installing](../../docs/install.md). Complete sets of values, each rendered by the tests: [ci](ci).',
    '',
    '## Values',
    '',
    table(['value', 'default', 'meaning'], rows),
  ].join('\n')
}

/** @param {unknown} value */
function shown(value) {
  if (value === '' || value === null) return ''
  const text = JSON.stringify(value)
  return text.length > 120 ? 'see values.yaml' : `\`${text}\``
}
