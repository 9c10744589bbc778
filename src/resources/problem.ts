// What is wrong with a resource, for its author: where, which of a closed list of reasons, and a sentence.

/** Reasons are API: conditions carry them, alerts match them. */
export const problemReasons = [
  'PlanNotFound',
  'NamespaceNotAllowed',
  'QuotaAbovePlan',
  'KeyNotFound',
  'KeyTooShort',
  'InvalidKey',
  'InvalidAlgorithm',
  'InvalidMatch',
  'InvalidOrigin',
  // Of files only: a cluster's API server refuses these by itself.
  'TenantNotFound',
  'InvalidResource',
  'UnknownKind',
  'DuplicateResource',
  'InvalidYAML',
  'UnreadableFile',
] as const
export type ProblemReason = (typeof problemReasons)[number]

/** Steps from the resource's root to the field. Empty: the whole. */
export type FieldPath = readonly (string | number)[]

export interface Problem {
  readonly path: FieldPath
  readonly reason: ProblemReason
  readonly message: string
}

/** `spec.channels[2].match.value` */
export function fieldPathText(path: FieldPath): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '')
}

/** A problem in a manifest file. `line` counts from 1; absent: the file could not be read so far. */
export interface FileProblem extends Problem {
  readonly file: string
  readonly line?: number | undefined
}

/** `acme.yaml:12: spec.quota.connections.max: The quota asks for …` */
export function fileProblemText({ file, line, path, message }: FileProblem): string {
  const place = line === undefined ? file : `${file}:${line}`
  return path.length === 0 ? `${place}: ${message}` : `${place}: ${fieldPathText(path)}: ${message}`
}
