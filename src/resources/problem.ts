// A problem of a resource, for its author: the field, a reason from a closed list, and a message.

/** The closed list of reasons. They are API: conditions contain them, and alerts match them. */
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
  'DurabilityUnavailable',
  // The following occur in files only: in a cluster, the API server refuses such resources.
  'TenantNotFound',
  'InvalidResource',
  'UnknownKind',
  'DuplicateResource',
  'InvalidYAML',
  'UnreadableFile',
] as const
export type ProblemReason = (typeof problemReasons)[number]

/** The path from the root of a resource to a field. An empty path names the whole resource. */
export type FieldPath = readonly (string | number)[]

/** One reason why a resource is not accepted. `message` says what is wrong, why, and what to do. */
export interface Problem {
  readonly path: FieldPath
  readonly reason: ProblemReason
  readonly message: string
}

/** Formats a path as in `spec.channels[2].match.value`. */
export function fieldPathText(path: FieldPath): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '')
}

/**
 * A problem in a manifest file. `line` counts from 1; it is absent when the file could not be parsed to that
 * point.
 */
export interface FileProblem extends Problem {
  readonly file: string
  readonly line?: number | undefined
}

/** Formats a problem as in `acme.yaml:12: spec.quota.connections.max: The quota asks for …`. */
export function fileProblemText({ file, line, path, message }: FileProblem): string {
  const place = line === undefined ? file : `${file}:${line}`
  return path.length === 0 ? `${place}: ${message}` : `${place}: ${fieldPathText(path)}: ${message}`
}
