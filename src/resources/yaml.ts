// Manifests as text: read with the line of every field, and written.
import {
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  stringify,
  type Document,
} from 'yaml'
import type { FieldPath, FileProblem } from './problem.js'
import { quoteHint } from './issue.js'

/** One YAML document that has been parsed and not yet validated. */
export interface ManifestDocument {
  readonly file: string
  readonly value: unknown
  /** Line (from 1) of the field at `path`, or of the nearest thing around it. */
  lineAt(path: FieldPath): number
}

/** One document, without the dashes before it. Fields in the order of the alphabet, at every depth. */
export function yamlText(value: object): string {
  return stringify(value, { sortMapEntries: true, lineWidth: 120, aliasDuplicateObjects: false })
}

/** Empty documents are passed over; a broken one does not take the others with it. */
export function parseManifests(
  file: string,
  text: string,
): { documents: ManifestDocument[]; problems: FileProblem[] } {
  const lines = new LineCounter()
  // Not pretty: those errors quote the source, and it may be a Secret's.
  const options = { lineCounter: lines, prettyErrors: false, logLevel: 'error', uniqueKeys: true } as const
  const documents: ManifestDocument[] = []
  const problems: FileProblem[] = []
  const sourceLines = text.split('\n')
  const refuse = (offset: number, message: string): void => {
    const { line } = lines.linePos(offset)
    const hint = /[{}*]/.test(sourceLines[line - 1] ?? '') ? ` ${quoteHint}` : ''
    problems.push({ file, line, path: [], reason: 'InvalidYAML', message: `${message}.${hint}` })
  }
  for (const document of parseAllDocuments(text, options)) {
    const [error] = document.errors
    if (error) {
      refuse(error.pos[0], error.message.replace(/\.$/, ''))
      continue
    }
    try {
      const value: unknown = document.toJS({ maxAliasCount: aliasesMax })
      if (value !== null)
        documents.push({ file, value, lineAt: (path) => lines.linePos(offsetAt(document, path)).line })
    } catch (bomb) {
      refuse(document.range[0], bomb instanceof Error ? bomb.message : String(bomb))
    }
  }
  return { documents, problems }
}

const aliasesMax = 100

/** Where the field at `path` begins, or the last step that is there. */
function offsetAt(document: Document.Parsed, path: FieldPath): number {
  let node: unknown = document.contents
  let offset = startOf(node) ?? document.range[0]
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === step)
      if (!pair) break
      offset = startOf(pair.key) ?? offset
      node = pair.value
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step]
      offset = startOf(node) ?? offset
    } else break
  }
  return offset
}

function startOf(node: unknown): number | undefined {
  return isNode(node) ? node.range?.[0] : undefined
}
