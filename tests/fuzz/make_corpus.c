/* SPDX-License-Identifier: MIT */
/*
 * Writes the seeds of the fuzz targets into the folders idx/ and safetensors/ of the
 * folder given: small good files and a few nearly good ones.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static const char *folder;

static int put(const char *name, const void *data, size_t bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

static int put_gzip(const char *name, const void *data, size_t bytes)
{
    uint8_t packed[4096];
    z_stream z = { 0 };
    if (deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 1;
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)bytes;
    z.next_out = packed;
    z.avail_out = sizeof packed;
    int rc = deflate(&z, Z_FINISH);
    size_t size = z.total_out;
    deflateEnd(&z);
    return rc == Z_STREAM_END ? put(name, packed, size) : 1;
}

static int idx_seeds(void)
{
    uint8_t labels[11] = { 0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1 };
    uint8_t small[20] = { 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4 };
    uint8_t image[16 + 784] = { 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28 };
    for (int i = 0; i < 784; i++)
        image[16 + i] = (uint8_t)(i * 31);
    return put("idx/labels", labels, sizeof labels) |
           put("idx/small", small, sizeof small) |
           put("idx/image", image, sizeof image) |
           put_gzip("idx/labels.gz", labels, sizeof labels) |
           put_gzip("idx/image.gz", image, sizeof image) |
           put_gzip("idx/short.gz", small, sizeof small - 1);
}

static int put_tensors(const char *name, const char *text, size_t data)
{
    uint8_t file[4096] = { 0 };
    size_t n = strlen(text);
    if (8 + n + data > sizeof file)
        return 1;
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)((uint64_t)n >> (8 * i));
    memcpy(file + 8, text, n);
    return put(name, file, 8 + n + data);
}

#define W(name, begin, end)                                                            \
    "\"" name "\":{\"data_offsets\":[" begin "," end                                   \
    "],\"dtype\":\"F32\",\"shape\":[2]}"
#define FACTS(optimizer)                                                               \
    "\"format\":\"libmnt\",\"libmnt.crc32\":\"00000000\",\"libmnt.numerics\":\"1\","   \
    "\"libmnt.optimizer\":\"" optimizer "\",\"libmnt.seed\":\"7\","                    \
    "\"libmnt.state\":\"0000000500000000000000000000000000000000000000000000000000"    \
    "0000000000000000000000000000000000000000000000000000000000000000000000\","        \
    "\"libmnt.step\":\"5\",\"libmnt.version\":\"0.1.0\""
#define OPTIONS                                                                        \
    "\"libmnt.optim.beta1\":\"3f666666\",\"libmnt.optim.beta2\":\"3f7fbe77\","         \
    "\"libmnt.optim.decoupled\":\"1\",\"libmnt.optim.eps\":\"322bcc77\","              \
    "\"libmnt.optim.lr\":\"3dcccccd\",\"libmnt.optim.momentum\":\"3f666666\","         \
    "\"libmnt.optim.nesterov\":\"0\","                                                 \
    "\"libmnt.optim.schedule\":\"0:00000000,100:3f800000\","                           \
    "\"libmnt.optim.weight_decay\":\"38d1b717\""

static int tensor_seeds(void)
{
    return put_tensors("safetensors/empty", "{}", 0) |
           put_tensors("safetensors/two",
                       "{" W("a", "0", "8") "," W("b", "8", "16") "}", 16) |
           put_tensors("safetensors/meta",
                       "{\"__metadata__\":{\"k\":\"v \\u00e9\"},"
                       "\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}",
                       8) |
           put_tensors("safetensors/plain",
                       "{\"__metadata__\":{" FACTS("none") ",\"user.epoch\":\"3\"}," W(
                           "w", "0", "8") "}",
                       8) |
           put_tensors("safetensors/sgd",
                       "{\"__metadata__\":{" FACTS("sgd") "," OPTIONS "}," W(
                           "__opt.v.w", "0", "8") "," W("w", "8", "16") "}",
                       16) |
           put_tensors(
               "safetensors/adam",
               "{\"__metadata__\":{" FACTS("adam") "," OPTIONS "}," W(
                   "__opt.m.w", "0", "8") "," W("__opt.v.w", "8", "16") "," W("w", "16",
                                                                              "24") "}",
               24);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_corpus FOLDER\n");
        return 2;
    }
    folder = argv[1];
    char path[1024];
    snprintf(path, sizeof path, "%s/idx", folder);
    mkdir(folder, 0777);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/safetensors", folder);
    mkdir(path, 0777);
    return idx_seeds() | tensor_seeds();
}
