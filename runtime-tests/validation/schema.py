"""Is a document what its schema wants? Says `pass`, or `fail` and why.

schema.py SCHEMAS DOCUMENT: the schema is config, features or state, by the
document's name.
"""

import json
import pathlib
import sys

import jsonschema

schemas, document = map(pathlib.Path, sys.argv[1:])
kind = {"spec": "config", "example": "config"}.get(document.stem, document.stem.split("-")[0])
path = schemas.resolve() / f"{kind}-schema.json"
schema = json.loads(path.read_text())
# References are to the files beside it.
resolver = jsonschema.RefResolver(path.as_uri(), schema)
try:
    value = json.loads(document.read_text())
except (OSError, ValueError) as error:
    sys.exit(print(f"fail {error}"))
checker = jsonschema.Draft4Validator(schema, resolver=resolver)
faults = [f"{'.'.join(map(str, e.absolute_path)) or 'document'}: {e.message}" for e in checker.iter_errors(value)]
print(f"fail {faults[0]} ({len(faults)} in all)" if faults else "pass")
