// Parses manifests, with the line of every field, and formats objects as YAML.
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

/** One YAML document that has been parsed but not yet validated. */
export interface ManifestDocument {
  readonly file: string
  readonly value: unknown
  /** Returns the line (from 1) of the field at `path`, or of the nearest enclosing field that exists. */
  lineAt(path: FieldPath): number
}

/** Formats one document, without the separator before it. Fields are sorted alphabetically at every depth. */
export function yamlText(value: object): string {
  return stringify(value, { sortMapEntries: true, lineWidth: 120, aliasDuplicateObjects: false })
}

/**
 * Parses all documents of a file. Empty documents are skipped, and an invalid document does not affect the
 * others.
 */
export function parseManifests(
  file: string,
  text: string,
): { documents: ManifestDocument[]; problems: FileProblem[] } {
  const lines = new LineCounter()
  // Pretty errors would quote the source, which may be a Secret.
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
    const [syntaxError] = document.errors
    if (syntaxError) {
      refuse(syntaxError.pos[0], syntaxError.message.replace(/\.$/, ''))
      continue
    }
    try {
      const value: unknown = document.toJS({ maxAliasCount: aliasesMax })
      if (value !== null)
        documents.push({ file, value, lineAt: (path) => lines.linePos(offsetAt(document, path)).line })
    } catch (error) {
      // For example, the document has more aliases than `aliasesMax`.
      refuse(document.range[0], error instanceof Error ? error.message : String(error))
    }
  }
  return { documents, problems }
}

/** Bounds the expansion of aliases, which could otherwise grow exponentially. */
const aliasesMax = 100

/** Returns the offset of the field at `path`, or of its nearest enclosing field that exists. */
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
