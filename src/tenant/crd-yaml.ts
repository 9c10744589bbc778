// CRDs as the files of manifests/crds hold them.
import { stringify } from 'yaml'
import type { CustomResourceDefinition } from './crd.js'

/** One document, without the dashes before it. Fields in the order of the alphabet: a change in zod's order is none here. */
export function crdYaml({ kind, manifest }: CustomResourceDefinition): string {
  const note = `# ${kind}, written by \`parley crds\` from the schema that the program reads it by. Do not edit: a test compares.\n`
  return note + stringify(manifest, { sortMapEntries: true, lineWidth: 120, aliasDuplicateObjects: false })
}
