"""What a dataset is, as frozen values: assets, their schemas and policies, the graph, selections, code versions.

Knows partitions and nothing that is stored. It must not know Prefect, boto3, dbt or any library of data: importing
definitions opens no file and no socket.
"""
